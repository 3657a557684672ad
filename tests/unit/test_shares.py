"""Runs of the tests that share modules: together they run each test once."""

import os
import subprocess
import sys
from pathlib import Path

from tests import shares

ROOT = Path(__file__).parents[2]
LIMIT_S = 60
MODULES = 6

CONFTEST = "from tests import shares\ndef pytest_configure(config): shares.take(config)\n"

MODULE = """
import os, time
import pytest

@pytest.fixture(scope="module")
def folder():
    yield "."
    print("left", __name__, flush=True)

@pytest.mark.parametrize("number", [1, 2])
def test_it(folder, number):
    print("ran", __name__, number, flush=True)
    # Until the other run has begun as well.
    while len(os.listdir(os.environ["INPOD_TESTS_SHARED"])) < 2:
        time.sleep(0.01)
"""


def test_each_module_is_run_once_and_as_a_whole(tmp_path: Path) -> None:
    begun, suite = tmp_path / "begun", tmp_path / "suite"
    begun.mkdir()
    suite.mkdir()
    (suite / "conftest.py").write_text(CONFTEST)
    for number in range(MODULES):
        (suite / f"test_{number}.py").write_text(MODULE)
    environment = {**os.environ, shares.FOLDER: str(begun), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-sq", "-p", "no:cacheprovider", "--rootdir", str(suite), "."]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=suite, env=environment) for _ in range(2)]
    try:
        said = [run.communicate(timeout=LIMIT_S)[0] for run in runs]
    finally:
        for run in runs:
            run.kill()  # one alone waits for the other for ever
    assert [run.returncode for run in runs] == [0, 0], said
    lines = [[line.lstrip(".") for line in text.splitlines() if "test_" in line] for text in said]
    assert all(lines)
    whole = [[f"ran test_{n} 1", f"ran test_{n} 2", f"left test_{n}"] for n in range(MODULES)]
    assert sorted(line for each in lines for line in each) == sorted(line for each in whole for line in each)
    for each in lines:
        assert [line.split()[1] for line in each[::3]] == [line.split()[1] for line in each[2::3]]
