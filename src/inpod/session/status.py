"""What a running session is at, in a file of its folder: for `inpod status`, which is another process."""

import contextlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inpod.session.asked import ask
from inpod.session.events import (
    COUNTED,
    AgentLost,
    Event,
    Note,
    PortDelivered,
    PortServices,
    PortSubscribed,
    PortTraffic,
    Reconnected,
    Summary,
)
from inpod.session.folder import running_folders

NAME = "status"
DELIVERED = ("connections", "refused")

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
                self._known(port, protocol).update(mode=mode, local=local)
            case PortDelivered(port=port, protocol=protocol, why=why):
                self._count(port, protocol, event, DELIVERED, "why_refused", why)
            case PortTraffic(port=port, protocol=protocol, why=why):
                self._count(port, protocol, event, COUNTED, "why", why)
            case PortServices(port, services, protocol):
                self._known(port, protocol)["services"] = list(services)
            case Note(text, _, port, protocol) if port is not None:
                self._known(port, protocol)["note"] = text
            case AgentLost():
                self._session["link"] = "lost"
            case Reconnected():
                self._session["link"] = "up"
            case _:
                return
        self._write()

    def _count(self, port: int, protocol: str, event: object, names: Sequence[str], reason: str, why: str) -> None:
        """Add what an event has counted under `names`, and keep the last reason."""
        known = self._known(port, protocol)
        known[reason] = why or known[reason]
        self._counts[port, protocol].update({name: getattr(event, name) for name in names})

    def _known(self, port: int, protocol: str) -> Json:
        return self._ports.setdefault((port, protocol), _port(port, protocol, "", ""))

    def _write(self) -> None:
        ports = [
            {**known, **{name: self._counts[key][name] for name in (*DELIVERED, *COUNTED)}}
            for key, known in sorted(self._ports.items())
        ]
        part = self._path.with_suffix(".part")
        # No room, or the folder is going: nobody fails for that.
        with contextlib.suppress(OSError):
            part.write_text(json.dumps({**self._session, "ports": ports}))
            part.rename(self._path)


def _port(port: int, protocol: str, mode: str, local: str) -> Json:
    known = {"port": port, "protocol": protocol, "mode": mode, "local": local}
    return {**known, "why": "", "why_refused": "", "note": "", "services": []}


def running_sessions() -> list[Json]:
    """Return the sessions of this user on this machine, oldest process first, as they are when they have looked again."""
    found: list[Json] = []
    folders = running_folders()
    ask(folders)
    for folder in folders:
        with contextlib.suppress(OSError, ValueError):
            session = json.loads((folder / NAME).read_text())
            # One that another version of inpod runs may not tell all.
            nothing = {**_port(0, "tcp", "", ""), **dict.fromkeys((*DELIVERED, *COUNTED), 0)}
            found.append({**session, "ports": [{**nothing, **port} for port in session["ports"]]})
    return sorted(found, key=lambda session: int(session["pid"]))
