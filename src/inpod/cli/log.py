"""What is written to the log, told as all else that inpod says. By itself Python writes it as it is, between the program's lines."""

import contextlib
import logging
import traceback
from collections.abc import Callable, Iterator

from inpod.errors import printable

FAULT = "This is a fault of inpod: please report it with the lines below."


@contextlib.contextmanager
def told(tell: Callable[[str], None]) -> Iterator[None]:
    """Have `tell` called with each warning and error that anybody writes to the log while the block runs.

    It is one line; for a fault of ours its lines follow.
    """
    handler = _Teller(tell)
    log = logging.getLogger()
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


class _Teller(logging.Handler):
    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(_words(record))


def _words(record: logging.LogRecord) -> str:
    said, *below = record.getMessage().splitlines() or [""]
    if record.levelno < logging.ERROR:
        return printable(" ".join((said, *below)))
    if record.exc_info and record.exc_info[1] is not None:
        below += "".join(traceback.format_exception(record.exc_info[1])).splitlines()
    return "\n".join(map(printable, (f"{said.rstrip('.')}. {FAULT}", *below)))
