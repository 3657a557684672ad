"""HTTP/2 on a mirrored port with a filter: the program gets the matched requests, whole and no others; the original all."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.netns.conftest import Pod
from tests.netns.http2_programs import GRPC_CLIENT
from tests.netns.http2_recorders import COMMANDS, NODE_CLIENT, NODE_TOLD
from tests.netns.test_filter import event
from tests.netns.traffic import wait_until
from tests.processes import end

PORT = 8080
URL = f"http://127.0.0.1:{PORT}"
MIB = 1024 * 1024
CLIENT_LIMIT_S = 60.0

Json = dict[str, object]

MINE: Json = {"header_filter": "^x-mine: 1$"}


@dataclass
class Told:
    """What a server told."""

    path: Path
    process: "subprocess.Popen[str]"

    def all(self) -> list[Json]:
        text = self.path.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def requests(self) -> list[Json]:
        return [line for line in self.all() if not line.keys() & {"ready", "began"}]

    def began(self, path: str) -> bool:
        return {"began": path} in self.all()

    def whole(self) -> list[Json]:
        return [request for request in self.requests() if request["isWhole"]]

    def wait(self, count: int) -> list[Json]:
        """Wait until so many requests were told; return all."""
        wait_until(lambda: len(self.requests()) >= count, f"{count} requests come", CLIENT_LIMIT_S)
        return self.requests()


@contextmanager
def telling(
    folder: Path, name: str, kind: str, command: list[str], options: Json | None = None, port: int = PORT
) -> Iterator[Told]:
    """Run a server behind `command`."""
    server = COMMANDS[kind]
    if shutil.which(server[0]) is None:
        pytest.skip(f"no {kind} here")
    path = folder / f"{name}.told"
    with path.open("w") as file:
        process = subprocess.Popen(
            [*command, *server, str(port), json.dumps(options or {})], stdout=file, stderr=subprocess.PIPE, text=True
        )
    try:
        yield Told(path, process)
    finally:
        end(process)


@contextmanager
def mirrored(
    pod: Pod,
    folder: Path,
    kind: str,
    http_filter: Mapping[str, object] = MINE,
    options: Json | None = None,
    original: Json | None = None,
) -> Iterator[tuple[Told, Told]]:
    """Run an original in the pod, and a program that has its port mirrored.

    Args:
        options: Of the program.
        original: Options of the original.
    """
    config = folder / "config.json"
    incoming = {"mode": "mirror", "http_filter": http_filter}
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
        event(ours.process, "PortSubscribed")
        yield theirs, ours


def ask(pod: Pod, *command: str) -> str:
    """Return what a client in the pod's network prints, which ends well."""
    done = subprocess.run(
        ["nsenter", "-t", str(pod.pid), "-n", *command], capture_output=True, text=True, timeout=CLIENT_LIMIT_S
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def curl(pod: Pod, *arguments: str) -> str:
    return ask(pod, "curl", "--silent", "--show-error", "--http2-prior-knowledge", *arguments)


@contextmanager
def told_client(pod: Pod) -> Iterator[Callable[..., None]]:
    """Run a client that does as it is told, with one connection."""
    command = ["nsenter", "-t", str(pod.pid), "-n", "node", "-e", NODE_TOLD, URL]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin is not None
        yield lambda *what: print(json.dumps(what), file=process.stdin)
        process.stdin.close()
        assert process.wait(CLIENT_LIMIT_S) == 0


def load(pod: Pod, count: int, header: str, path: str, *, at_once: int, connections: int = 1) -> None:
    """Ask with h2load, which ends with the last answer."""
    if shutil.which("h2load") is None:
        pytest.skip("no h2load here")
    numbers = ["-n", str(count), "-c", str(connections), "-m", str(at_once)]
    text = ask(pod, "h2load", *numbers, "--header", header, URL + path)
    assert f"{count} succeeded, 0 failed, 0 errored, 0 timeout" in text


def by_path(requests: list[Json]) -> dict[object, Json]:
    found = {request["path"]: request for request in requests}
    assert len(found) == len(requests)
    return found


def test_grpc_calls_of_one_channel_are_decided_one_by_one(pod: Pod, tmp_path: Path) -> None:
    with mirrored(pod, tmp_path, "grpc") as (original, program):
        assert json.loads(ask(pod, sys.executable, "-c", GRPC_CLIENT, str(PORT), "original")) == []
        asked = original.wait(202)
        told = program.wait(101)
        wanted = [call for call in asked if call["mine"]]
        assert sorted(map(str, told)) == sorted(map(str, wanted))
        traffic = event(program.process, "PortTraffic")
        assert traffic["whole"] == traffic["dropped"] == 0


NODE_REQUESTS = 60
CANCEL = 8


def ask_much(pod: Pod, largest: int) -> None:
    assert ask(pod, "node", "-e", NODE_CLIENT, URL, str(NODE_REQUESTS), str(largest)) == ""


def assert_copied(original: list[Json], program: list[Json]) -> None:
    """All matched requests came as they came to the original, and no others."""
    found, whole = by_path(program), 0
    for path, request in by_path(original).items():
        if request["mine"] and request["isWhole"]:
            whole += 1
            assert found[path] == request
        elif path in found:
            # Taken back, which the program sees if it was asked already.
            assert request["mine"]
            assert (found[path]["isWhole"], found[path]["code"]) == (False, CANCEL)
    assert sum(1 for request in program if request["isWhole"]) == whole


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"initialWindowSize": 1000, "maxConcurrentStreams": 2},
        {"initialWindowSize": 2**31 - 1, "maxFrameSize": 2**20},
    ],
    ids=["usual", "takes little", "takes much"],
)
def test_streams_in_turns_arrive_whole_with_their_trailers(pod: Pod, tmp_path: Path, settings: Json) -> None:
    with mirrored(pod, tmp_path, "node", options={"settings": settings}) as (original, program):
        ask_much(pod, 2 * MIB)
        asked = original.wait(NODE_REQUESTS)
        wanted = [request for request in asked if request["mine"] and request["isWhole"]]
        wait_until(lambda: len(program.whole()) >= len(wanted), "all come", CLIENT_LIMIT_S)
        assert_copied(asked, program.requests())


def test_requests_arrive_though_the_client_is_gone_before(pod: Pod, tmp_path: Path) -> None:
    options = {"settings": {"maxConcurrentStreams": 1}, "delay": 100}
    with mirrored(pod, tmp_path, "node", options=options) as (original, program):
        load(pod, 20, "x-mine: 1", "/mine", at_once=20)
        told = program.wait(20)
        assert all(request["isWhole"] and not request["code"] for request in told)
        assert len(original.requests()) == 20


def test_large_bodies_arrive_whole(pod: Pod, tmp_path: Path) -> None:
    """With frames of 1 MiB, as large as the original allows."""
    with mirrored(pod, tmp_path, "node", original={"settings": {"maxFrameSize": MIB}}) as (original, program):
        ask_much(pod, 12 * MIB)
        asked = original.wait(NODE_REQUESTS)
        wanted = [request for request in asked if request["mine"] and request["isWhole"]]
        wait_until(lambda: len(program.whole()) >= len(wanted), "all come", CLIENT_LIMIT_S)
        assert_copied(asked, program.requests())


def test_program_that_ends_its_connections_gets_new_ones(pod: Pod, tmp_path: Path) -> None:
    with mirrored(pod, tmp_path, "node", options={"closes": True}) as (original, program):
        with told_client(pod) as tell:
            for number in range(1, 6):
                tell(f"/{number}", {"x-mine": "1"})
                tell(f"/{number}")
                assert program.wait(number)[-1]["path"] == f"/{number}"
        assert all(request["isWhole"] for request in program.requests())
        assert len(original.wait(5)) == 5


def test_request_that_is_taken_back_is_taken_back_from_the_program(pod: Pod, tmp_path: Path) -> None:
    with mirrored(pod, tmp_path, "node") as (original, program), told_client(pod) as tell:
        for number, headers in enumerate(({"x-mine": "1"}, {"x-other": "1"}, {"x-mine": "1"})):
            tell(f"/taken-back/{number}", headers)
        wait_until(lambda: program.began("/taken-back/2"), "the program is asked")
        wait_until(lambda: original.began("/taken-back/2"), "the original is asked")
        tell("/taken-back/0", None)
        tell("/taken-back/1", None)
        # And one that goes on is not touched.
        first = program.wait(1)[0]
        assert (first["path"], first["size"], first["isWhole"], first["code"]) == ("/taken-back/0", 13, False, CANCEL)
        tell("/taken-back/2")
        last = program.wait(2)[1]
        assert (last["path"], last["size"], last["isWhole"], last["code"]) == ("/taken-back/2", 13, True, 0)
        assert len(original.wait(3)) == 3


def test_requests_end_with_the_client_that_did_not_end_them(pod: Pod, tmp_path: Path) -> None:
    with mirrored(pod, tmp_path, "node") as (_, program):
        with told_client(pod) as tell:
            tell("/taken-back/1", {"x-mine": "1"})
            wait_until(lambda: program.began("/taken-back/1"), "the program is asked")
        told = program.wait(1)[0]
        assert (told["path"], told["isWhole"], told["code"]) == ("/taken-back/1", False, CANCEL)


def test_filter_that_looks_at_the_body(pod: Pod, tmp_path: Path) -> None:
    body_filter = {"body": "json", "query": "$.user", "matches": "^alice$"}
    with mirrored(pod, tmp_path, "node", {"body_filter": body_filter}) as (original, program):
        for user in ("bob", "alice", "bob"):
            text = json.dumps({"user": user, "more": "x" * 50_000})
            body = tmp_path / "body"
            body.write_text(text)
            curl(pod, "--data-binary", f"@{body}", f"{URL}/{user}")
        told = program.wait(1)
        assert len(original.wait(3)) == 3
        assert [(request["path"], request["size"], request["isWhole"]) for request in told] == [
            ("/alice", len(text) + 2, True)
        ]


def test_h2load_s_matched_requests_come_and_no_others(pod: Pod, tmp_path: Path) -> None:
    with mirrored(pod, tmp_path, "node") as (original, program):
        load(pod, 2000, "x-mine: 1", "/mine", connections=4, at_once=50)
        load(pod, 2000, "x-mine: 2", "/other", connections=4, at_once=50)
        assert len(original.wait(4000)) == 4000
        curl(pod, "--header", "X-Mine: 1", f"{URL}/last")
        told = program.wait(2001)
        assert [request["path"] for request in told] == ["/mine"] * 2000 + ["/last"]


def test_connection_that_goes_on_in_http2_is_decided_request_by_request(pod: Pod, tmp_path: Path) -> None:
    """In a copy the original may have taken the offer to: then what follows is read as HTTP/2."""
    with mirrored(pod, tmp_path, "hypercorn", {"path_filter": "^/mine"}) as (original, program):
        offering = ["--silent", "--show-error", "--http2"]
        paths = ["/mine/1", "/other", "/mine/2", "/mine/3"]
        command = [argument for path in paths for argument in ("--next", *offering, URL + path)][1:]
        assert ask(pod, "curl", *command).split() == ["2"] * 4
        assert [request["path"] for request in original.wait(4)] == paths
        told = program.wait(3)
        assert [(request["path"], request["version"]) for request in told] == [
            ("/mine/1", "1.1"), ("/mine/2", "2"), ("/mine/3", "2"),
        ]  # fmt: skip
