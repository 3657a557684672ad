"""What a running session is at, in a file of its folder: for `inpod status`, which is another process."""

import contextlib
import json
import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from inpod.session.events import AgentLost, Event, PortSubscribed, PortTraffic, Reconnected, Summary
from inpod.session.folder import running_folders

NAME = "status"
COUNTED = ("seen", "matched", "passed", "whole", "dropped", "moved")

Json = dict[str, Any]


class Status:
    """Keeps the file up to date: an event listener."""

    def __init__(self, folder: Path, argv: tuple[str, ...]) -> None:
        self._path = folder / NAME
        self._session: Json = {"pid": os.getpid(), "command": list(argv), "target": "", "incoming": "", "link": "up"}
        self._ports: dict[tuple[int, str], Json] = {}
        self._counts: defaultdict[tuple[int, str], Counter[str]] = defaultdict(Counter)

    def on_event(self, event: Event) -> None:
        """Take note of what changes the picture."""
        match event:
            case Summary(target, incoming, files):
                self._session |= {"target": target, "incoming": incoming, "files": files}
            case PortSubscribed(port, mode, local, protocol):
                self._ports[port, protocol] = _port(port, protocol, mode, local)
            case PortTraffic(port=port, protocol=protocol, why=why):
                known = self._ports.setdefault((port, protocol), _port(port, protocol, "", ""))
                known["why"] = why or known["why"]
                self._counts[port, protocol].update({name: getattr(event, name) for name in COUNTED})
            case AgentLost():
                self._session["link"] = "lost"
            case Reconnected():
                self._session["link"] = "up"
            case _:
                return
        self._write()

    def _write(self) -> None:
        ports = [
            {**known, **{name: self._counts[key][name] for name in COUNTED}}
            for key, known in sorted(self._ports.items())
        ]
        part = self._path.with_suffix(".part")
        # No room, or the folder is going: nobody fails for that.
        with contextlib.suppress(OSError):
            part.write_text(json.dumps({**self._session, "ports": ports}))
            part.rename(self._path)


def _port(port: int, protocol: str, mode: str, local: str) -> Json:
    return {"port": port, "protocol": protocol, "mode": mode, "local": local, "why": ""}


def running_sessions() -> list[Json]:
    """Return the sessions of this user on this machine, oldest process first."""
    found: list[Json] = []
    for folder in running_folders():
        with contextlib.suppress(OSError, ValueError):
            found.append(json.loads((folder / NAME).read_text()))
    return sorted(found, key=lambda session: int(session["pid"]))
