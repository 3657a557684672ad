"""Programs of an ordinary user, who may not look into all of them; the tracer gives up rights (no_new_privs)."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.layer.conftest import PROGRAMS, ROOT, is_root

PYTHON = "/usr/bin/python3"
"""The tests' own may lie where nobody else may look."""

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


pytestmark = pytest.mark.skipif(not is_root(), reason="another user's place is taken by root")


def said_by(program: str, *arguments: str) -> str:
    """Return what a program of tests/programs says as an ordinary user."""
    if subprocess.run(
        [*NOBODY, PYTHON, "-c", f"import sys; open({str(ROOT / 'README.md')!r}); sys.version_info >= (3, 11) or 1 / 0"]
    ).returncode:
        pytest.skip("no system Python, or the checkout is not for all to read")
    command = [*NOBODY, PYTHON, str(PROGRAMS / program), *arguments]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_ordinary_user_is_traced() -> None:
    assert said_by("ordinary_user.py").split() == ["65534", "hello", "NoNewPrivs:", "1", "Seccomp:", "2"]


def test_programs_that_nobody_may_look_into_run_outside_the_pod() -> None:
    said = said_by("closed_programs.py").splitlines()
    assert said == [
        *("True", "[False, False, False]"),
        *("1", "1", "1", "hello"),
        *("ran", "ran"),
        *("closed python3", "closed /cat", "no-new-rights /bin/su", "no-new-rights /bin/su"),
    ]


def test_programs_that_may_not_be_read_are_told_of_and_keep_the_layer(home: Path) -> None:
    set_id = home / "set-id"
    shutil.copy("/bin/true", set_id)
    set_id.chmod(0o4111)
    said = said_by("unreadable_programs.py", str(set_id)).splitlines()
    # What may not be executed either is the shell's to complain of.
    assert said == ["hello", "2", "unreadable cat", "unreadable static", "set-id set-id"]
