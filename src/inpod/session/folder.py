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

from inpod.launch.guardian import Guardian

PREFIX = "inpod-"

WANTED_BYTES = 512 * 1024 * 1024
"""Room that a place should have: pod files are kept there."""

MAX_PATH_BYTES = 64
"""Of a place's path: that of the unix socket in the folder may have 107 bytes (unix(7))."""


class Folder:
    """A new folder. Call `remove` at the end.

    Attributes:
        guardian: Removes it when we are killed.
    """

    def __init__(self) -> None:
        place = _place()
        remove_left_over(place)
        while True:
            self.path = place / f"{PREFIX}{os.getuid()}-{os.urandom(6).hex()}"
            # First: when we are killed, there may be no folder yet, but none that nobody removes.
            self.guardian = Guardian(self.path)
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                self.path.mkdir(0o700)
                self._lock = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
                fcntl.flock(self._lock, fcntl.LOCK_EX)
                if self.path.exists():
                    return
                # Another session took it for left over before it was locked.
                os.close(self._lock)
            self.guardian.let_go()

    def remove(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)
        self.guardian.let_go()


def remove_left_over(place: Path) -> None:
    """Remove the folders of this user that no session holds."""
    for path in place.glob(f"{PREFIX}{os.getuid()}-*"):
        with contextlib.suppress(OSError):
            found = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(found).st_uid == os.getuid():
                    fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(found)


def running_folders() -> list[Path]:
    """Return the folders of this user's sessions that run on this machine."""
    found: list[Path] = []
    for place in dict.fromkeys(_places()):
        for path in place.glob(f"{PREFIX}{os.getuid()}-*"):
            with contextlib.suppress(OSError):
                folder = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    # Shared, so that several may look at once, and only for a moment.
                    fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    found.append(path)
                finally:
                    os.close(folder)
    return found


def _places() -> list[Path]:
    """Return where folders may be, the best place first. Without links: getcwd(2) would tell them."""
    names = (os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm", tempfile.gettempdir())  # noqa: S108 # mkdtemp makes it private
    return [Path(name).resolve() for name in names if name and os.access(name, os.W_OK | os.X_OK)]


def _place() -> Path:
    """Return the first place with enough room that programs may be executed in, else the one with most room."""
    best, most = Path(tempfile.gettempdir()).resolve(), -1
    for place in _places():
        if len(os.fsencode(place)) > MAX_PATH_BYTES:
            continue
        found = os.statvfs(place)
        free = found.f_bavail * found.f_frsize
        # Programs of the pod are executed there.
        if free >= WANTED_BYTES and not found.f_flag & os.ST_NOEXEC:
            return place
        if free > most:
            best, most = place, free
    return best
