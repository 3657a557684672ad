"""The session's private folder: 0700, in memory where there is such a place, and gone with the session.

A running session holds a lock on its folder; folders of this user that nobody locks are left over from sessions that
were killed, and are removed by the next one.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "inpod-"


def _home() -> Path:
    for place in (os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm", tempfile.gettempdir()):  # noqa: S108 # mkdtemp makes it private
        if place and os.access(place, os.W_OK | os.X_OK):
            return Path(place)
    return Path(tempfile.gettempdir())


class Folder:
    """A new folder. Call `remove` at the end."""

    def __init__(self) -> None:
        home = _home()
        _remove_left_over(home)
        self.path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getuid()}-", dir=home))
        self._lock = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove it with all that is in it."""
        _remove(self.path)
        os.close(self._lock)


def _remove_left_over(home: Path) -> None:
    for path in home.glob(f"{PREFIX}{os.getuid()}-*"):
        with contextlib.suppress(OSError):
            found = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(found).st_uid == os.getuid():
                    fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    _remove(path)
            finally:
                os.close(found)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
