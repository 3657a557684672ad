"""Shows a session's events on stderr: a spinner on a terminal, plain lines otherwise, JSON lines for programs."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Literal, Protocol

from inpod.cli.output import say
from inpod.session.events import (
    AgentLost,
    Event,
    Events,
    Note,
    PortDelivered,
    PortServices,
    PortSubscribed,
    PortTraffic,
    Reconnected,
    Step,
    Summary,
)

FILES = {
    "read": "its files are read, writes stay here",
    "localwithoverrides": "its mounts are read, other files are those of this machine",
}
"""What a mode of files is to people."""

Mode = Literal["auto", "plain", "json", "off"]


class _View(Protocol):
    def show(self, event: Event) -> None: ...

    def close(self) -> None: ...


@contextlib.contextmanager
def show(events: Events, mode: Mode) -> Iterator[None]:
    """Show `events` while the block runs."""
    if mode == "auto":
        # On a dumb terminal (an editor's) steps cannot overwrite each other.
        mode = "auto" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else "plain"
    view: _View = _Spinner() if mode == "auto" else _Json() if mode == "json" else _Plain(is_off=mode == "off")
    events.listen(view.show)
    try:
        yield
    finally:
        view.close()


def words(event: Event) -> str:
    """Return an event for people; "" for counts, which are for programs: people get a note where there is something to know."""
    match event:
        case Step(text):
            return text
        case Summary(target, incoming, files):
            comes = {
                "mirror": "a copy of its traffic comes in",
                "steal": "its traffic comes in",
                "off": "nothing comes in",
            }
            reads = FILES.get(files, "files are those of this machine")
            return f"In {target}: {comes[incoming]}, connections and names go out through it, {reads}."
        case PortSubscribed(port, mode, local, protocol):
            of_what = "UDP port" if protocol == "udp" else "Port"
            return f"{of_what} {port} of the pod {'is mirrored to' if mode == 'mirror' else 'goes to'} {local}."
        case PortDelivered() | PortTraffic() | PortServices():
            return ""
        case Note(text):
            return text
        case AgentLost():
            return "The agent is lost; trying to reach it again."
        case Reconnected():
            return "The agent is there again."


class _Plain:
    def __init__(self, *, is_off: bool) -> None:
        self._is_off = is_off

    def show(self, event: Event) -> None:
        # What was asked not to be shown is progress; warnings are not progress.
        if (text := words(event)) and (not self._is_off or _is_warning(event)):
            say(f"inpod: {text}")

    def close(self) -> None:
        pass


class _Json:
    def show(self, event: Event) -> None:
        say(json.dumps({"event": type(event).__name__, **event._asdict()}))

    def close(self) -> None:
        pass


class _Spinner:
    """Steps overwrite each other; what stays is the summary and what comes after it."""

    def __init__(self) -> None:
        # Only a terminal pays for rich.
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False)
        self._status = self._console.status("inpod")
        self._status.start()

    def show(self, event: Event) -> None:
        text = words(event)
        if isinstance(event, Step):
            self._status.update(text)
            return
        if isinstance(event, Summary):
            self._status.stop()  # the terminal is the program's from here on
        if text:
            style = "yellow" if _is_warning(event) else "dim"
            with contextlib.suppress(OSError):  # the terminal is gone
                self._console.print(f"inpod: {text}", style=style, markup=False, soft_wrap=True)

    def close(self) -> None:
        self._status.stop()


def _is_warning(event: Event) -> bool:
    return isinstance(event, AgentLost) or (isinstance(event, Note) and event.level == "warning")
