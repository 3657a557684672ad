"""An original in a pod and a program that has its port mirrored, both of which tell what they were asked."""

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.events import Json, read
from tests.netns.conftest import Pod
from tests.netns.http2_recorders import COMMANDS
from tests.netns.traffic import wait_until
from tests.packages import need
from tests.processes import end

PORT = 8080
CLIENT_LIMIT_S = 60.0
TRIES = 4

MINE: Json = {"header_filter": "^x-mine: 1$"}


@dataclass
class Told:
    """What a server told."""

    path: Path

    def all(self) -> list[Json]:
        text = self.path.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def requests(self) -> list[Json]:
        return [line for line in self.all() if not line.keys() & {"ready", "began"}]

    def began(self, path: str) -> bool:
        return {"began": path} in self.all()

    def events(self, name: str) -> list[Json]:
        """Return the events of its session."""
        lines = self.path.with_suffix(".events").read_text().splitlines()
        return [found for line in lines if line.endswith("}") and (found := read(line))["event"] == name]

    def dropped(self) -> int:
        return sum(int(str(event["dropped"])) for event in self.events("PortTraffic"))

    def wait(self, count: int) -> list[Json]:
        """Wait until so many requests were told; return all."""
        self.wait_until(lambda: len(self.requests()) >= count)
        return self.requests()

    def wait_until(self, is_there: Callable[[], bool]) -> None:
        """Wait for something of the requests.

        Raises:
            Overrun: Something is missing, as its session says.
        """
        wait_until(lambda: is_there() or self.dropped(), "the requests come", CLIENT_LIMIT_S)
        if not is_there():
            raise Overrun(f"{self.dropped()} packets")


class Overrun(Exception):
    """The machine was too busy: mirroring slows nobody, and so drops what it has no time for, and says so."""


def again(test: Callable[..., None]) -> Callable[..., None]:
    """Make a test anew for which the machine was too busy."""

    @functools.wraps(test)
    def tried(*arguments: object, **more: object) -> None:
        for _ in range(TRIES - 1):
            with suppress(Overrun):
                return test(*arguments, **more)
        return test(*arguments, **more)

    return tried


@contextmanager
def telling(
    folder: Path, name: str, kind: str, command: list[str], options: Json | None = None, port: int = PORT
) -> Iterator[Told]:
    """Run a server behind `command`."""
    server = COMMANDS[kind]
    need(server[0])
    path = folder / f"{name}.told"
    with path.open("w") as file, path.with_suffix(".events").open("w") as events:
        process = subprocess.Popen(
            [*command, *server, str(port), json.dumps(options or {})], stdout=file, stderr=events, text=True
        )
    try:
        yield Told(path)
    finally:
        end(process)


@contextmanager
def mirrored(
    pod: Pod,
    folder: Path,
    kind: str,
    http_filter: Mapping[str, object] | None = MINE,
    options: Json | None = None,
    original: Json | None = None,
) -> Iterator[tuple[Told, Told]]:
    """Run an original in the pod, and a program that has its port mirrored.

    Args:
        options: Of the program.
        original: Options of the original.
    """
    config = folder / "config.json"
    incoming = {"mode": "mirror"} | ({"http_filter": http_filter} if http_filter else {})
    config.write_text(json.dumps({"feature": {"network": {"incoming": incoming}}}))
    inpod = [
        sys.executable,
        "-m",
        "inpod",
        "exec",
        "-t",
        f"pid/{pod.pid}",
        "-f",
        str(config),
        "--progress",
        "json",
        "--",
    ]
    with ExitStack() as undo:
        inside = ["nsenter", "-t", str(pod.pid), "-n"]
        theirs = undo.enter_context(telling(folder, "original", kind, inside, original))
        wait_until(theirs.all, "the original serves")
        ours = undo.enter_context(telling(folder, "program", kind, inpod, options))
        wait_until(lambda: ours.events("PortSubscribed"), "the port is mirrored", CLIENT_LIMIT_S)
        yield theirs, ours
