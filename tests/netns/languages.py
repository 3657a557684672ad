"""Programs of several languages, given as text."""

import os
import subprocess
from pathlib import Path

from tests.packages import need


def command(language: str, folder: Path, text: str, *, libraries: str = "") -> list[str]:
    """Return the command of a program, which is compiled where that has to be; its class is `Main` in Java.

    `libraries` is a class path beside it.

    Skips the test where the language is not installed.
    """
    need(language)
    if language == "node":
        return ["node", "-e", text]
    if language == "php":
        return ["php", "-r", text]
    if language == "java":
        (folder / "Main.java").write_text(text)
        classes = f"{folder}:{libraries}" if libraries else str(folder)
        subprocess.run(["javac", "-cp", classes, "-d", folder, folder / "Main.java"], check=True)
        return ["java", "-cp", classes, "Main"]
    assert language == "go"
    (folder / "main.go").write_text(text)
    environment = dict(os.environ, CGO_ENABLED="0")
    subprocess.run(["go", "build", "-o", folder / "main", folder / "main.go"], check=True, env=environment)
    return [str(folder / "main")]
