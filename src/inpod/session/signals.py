"""What becomes of SIGINT, SIGTERM and SIGHUP before there is a program, and after it."""

import asyncio
import signal
from collections.abc import Callable


class Signals:
    """Signals that come while there is no program to pass them on to: the start is undone, the end is not disturbed."""

    def __init__(self) -> None:
        self.caught = 0
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._numbers = [
            number
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) is not signal.SIG_IGN
        ]
        for number in self._numbers:
            self._loop.add_signal_handler(number, self._stop, number)

    def call(self, call: Callable[[], object]) -> None:
        """Have a signal call `call`: the program has ended, and with it the process's own handlers."""
        for number in self._numbers:
            self._loop.add_signal_handler(number, call)

    def hold_off(self) -> None:
        """Have a signal do nothing: nothing may cut the undoing short."""
        self.call(lambda: None)

    def close(self) -> None:
        """Back to the defaults."""
        for number in self._numbers:
            self._loop.remove_signal_handler(number)

    def _stop(self, number: int) -> None:
        if not self.caught and self._task is not None:
            self.caught = number
            self._task.cancel()
