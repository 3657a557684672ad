"""Runs of pytest at once that share their modules: each module is run by the run that comes to it first.

For runs that `tests.parts` starts. What several runs have must be of one package: pytest leaves a package when the next test is
of another one, and does not know that we pass over tests.
"""

import contextlib
import os
from pathlib import Path

import pytest

FOLDER = "INPOD_TESTS_SHARED"
"""Variable with the folder where runs leave the names of the modules that they have begun; without it a run has all."""


def take(config: pytest.Config) -> None:
    """Take a share, where the variable is set."""
    if folder := os.environ.get(FOLDER):
        config.pluginmanager.register(_Share(Path(folder)))


class _Share:
    """What this run has begun, and passes over."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._is_ours: dict[Path, bool] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Pass over a test of a module that another run has begun."""
        if item.path not in self._is_ours:
            self._is_ours[item.path] = self._begin(item)
        return None if self._is_ours[item.path] else True

    def _begin(self, item: pytest.Item) -> bool:
        name = str(item.path.relative_to(item.config.rootpath)).replace(os.sep, "-")
        with contextlib.suppress(FileExistsError):
            (self._folder / name).touch(exist_ok=False)
            return True
        return False
