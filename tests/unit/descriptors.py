"""A process that has no descriptors left, and how often it then tries to accept."""

import contextlib
import resource
import socket
from collections.abc import Iterator


@contextlib.contextmanager
def none_left() -> Iterator[None]:
    """Let this process have no further descriptor."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Counting(socket.socket):
    """Counts how often somebody was to be let in."""

    count = 0

    def accept(self) -> tuple[socket.socket, object]:
        self.count += 1
        return super().accept()
