"""What becomes of SIGINT, SIGTERM and SIGHUP before there is a program, and after it."""

import asyncio
import signal


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
        self._catch()

    def hold_off(self) -> None:
        """The program has ended, and with it the process's own handlers: nothing may cut the undoing short."""
        self._task = None
        self._catch()

    def close(self) -> None:
        """Back to the defaults."""
        for number in self._numbers:
            self._loop.remove_signal_handler(number)

    def _catch(self) -> None:
        for number in self._numbers:
            self._loop.add_signal_handler(number, self._stop, number)

    def _stop(self, number: int) -> None:
        if not self.caught and self._task is not None:
            self.caught = number
            self._task.cancel()
