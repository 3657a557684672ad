"""Programs of several languages, given as text."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def command(language: str, folder: Path, text: str) -> list[str]:
    """Return the command of a program, which is compiled where that has to be; its class is `Main` in Java.

    Skips the test where the language is not installed.
    """
    if shutil.which(language) is None:
        pytest.skip(f"{language} is not installed")
    if language == "node":
        return ["node", "-e", text]
    if language == "java":
        (folder / "Main.java").write_text(text)
        subprocess.run(["javac", "-d", folder, folder / "Main.java"], check=True)
        return ["java", "-cp", str(folder), "Main"]
    assert language == "go"
    (folder / "main.go").write_text(text)
    environment = dict(os.environ, CGO_ENABLED="0")
    subprocess.run(["go", "build", "-o", folder / "main", folder / "main.go"], check=True, env=environment)
    return [str(folder / "main")]
