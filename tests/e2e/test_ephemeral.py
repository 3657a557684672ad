"""The agent as an ephemeral container of the target's pod: all that a Job's agent does, with less rights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inpod.errors import ExitCode
from inpod.protocol.agent import Hello, ReadEnv, Welcome, decode_answer, encode
from inpod.targets.kube.bootstrap import command
from tests.e2e.cluster import Namespace, until
from tests.e2e.kube import inpod_exec, make_target, refused, run
from tests.e2e.test_filter import answers, developer
from tests.e2e.test_kube_errors import pod
from tests.e2e.test_kube_faults import serves, wait_until_killed
from tests.e2e.test_kube_target import talking
from tests.e2e.test_matrix import remote_of
from tests.e2e.test_reconnect import ask, check, cut_off, session
from tests.matrix import GO, PYTHON, Program
from tests.matrix import check as check_program
from tests.netns.test_filter import event
from tests.processes import LIMIT_S, end, next_line

IDLE_LIMIT_S = 30
"""Of an agent without its session."""


def agents_in(here: Namespace, pod: str = "web") -> list[dict[str, Any]]:
    """Return the states of the agents' containers in a pod; empty where the kubelet has not said any."""
    found = here.get("pods", pod)
    states = {each["name"]: each["state"] for each in found["status"].get("ephemeralContainerStatuses", [])}
    return [states.get(each["name"], {}) for each in found["spec"].get("ephemeralContainers", [])]


def wait_until_all_have_ended(here: Namespace, pod: str = "web", *, within_s: float = IDLE_LIMIT_S - 5) -> None:
    """Wait for the ends of all agents in a pod; by default for less than one stays that misses its session."""
    until("the agents' ends", lambda: all("terminated" in state for state in agents_in(here, pod)), within_s=within_s)


@pytest.fixture(autouse=True)
def nothing_left(targets: Namespace) -> Iterator[None]:
    """No test leaves an agent, and none needs a Job."""
    yield
    assert targets.jobs() == []
    wait_until_all_have_ended(targets, within_s=IDLE_LIMIT_S + 30)


@pytest.mark.parametrize("mode", ["mirror", "steal"])
@pytest.mark.parametrize("program", [PYTHON, GO], ids=lambda program: program.name)
def test_program_stands_in_the_pod(
    program: Program, mode: str, targets: Namespace, build: Path, tmp_path: Path
) -> None:
    check_program(remote_of(targets, "web", "pod/web", "-e"), program, mode, build, tmp_path)
    wait_until_all_have_ended(targets)
    assert agents_in(targets)[-1]["terminated"]["exitCode"] == 0


def test_agent_lacks_nothing_beside_another_users_process(targets: Namespace) -> None:
    async def story() -> None:
        said: list[str] = []
        link = await make_target(targets, "deployment/api", is_ephemeral=True).start_agent(said.append)
        try:
            async with talking(link) as tunnel:
                hello = encode(Hello(1, ["mirror", "steal"], "sk_lookup"))
                welcome = decode_answer(Welcome, await tunnel.ask(hello))
                assert welcome.cannot == {}
                assert welcome.hostname == targets.pod_of("api")["metadata"]["name"]
                assert b"hello from the pod" in await tunnel.fetch(encode(ReadEnv()))
        finally:
            await link.close()
        assert any(f"stays listed in pod {welcome.hostname}" in line for line in said)

    run(story())


def test_connection_that_breaks_is_made_again_to_the_same_agent(targets: Namespace) -> None:
    before = len(agents_in(targets))
    with session(targets, "steal", "-e") as (process, program):
        check(targets, "steal", process, program, "/before")
        cut_off(targets, process)
        event(process, "AgentLost")
        event(process, "Reconnected")
        check(targets, "steal", process, program, "/again")
        assert len(agents_in(targets)) == before + 1
    assert ask(targets, "/after") == "original"


WAYS = [(True, False), (False, True), (True, True)]


@pytest.mark.parametrize(("first", "second"), WAYS, ids=["ephemeral and Job", "Job and ephemeral", "both ephemeral"])
def test_two_developers_share_a_pod(targets: Namespace, first: bool, second: bool, tmp_path: Path) -> None:
    address = str(targets.pod_of("web")["status"]["podIP"])
    users = ("alice", "bob", "carol", "alice")

    def steal(user: str) -> dict[str, object]:
        return {"mode": "steal", "http_filter": {"header_filter": f"^x-user: {user}$"}}

    with (
        developer(targets, "pod/web", tmp_path, "alice", steal("alice"), ephemeral=first) as alice,
        developer(targets, "pod/web", tmp_path, "bob", steal("bob"), ephemeral=second),
    ):
        assert answers(targets, address, *users) == ["alice", "bob", "original", "alice"]
        end(alice)
        until(
            "bob has the port",
            lambda: answers(targets, address, *users) == ["original", "bob", "original", "original"],
        )
    until("their agents' ends", lambda: targets.jobs() == [])
    assert answers(targets, address, *users) == ["original"] * 4


STRANGER = """
import os, socket
print(os.getuid(), end=" ")
sock = socket.socket(socket.AF_UNIX)
sock.connect(f"\\0inpod/steal/tcp/8080")
sock.sendall(bytes(16))
print(sock.recv(1))
"""


def test_the_targets_own_root_gets_no_share(namespace: Namespace, tmp_path: Path) -> None:
    """The agent has the same user in the same pid namespace."""
    here = namespace
    server = "import http.server as h; h.HTTPServer(('', 8080), h.SimpleHTTPRequestHandler).serve_forever()"
    container = {"name": "web", "image": here.cluster.image, "command": ["python3", "-c", server]}
    here.kubectl("apply", "-f", "-", text=pod("web", here.cluster.image, containers=[container]))
    here.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    incoming: dict[str, object] = {"mode": "steal", "http_filter": {"path_filter": "x"}}
    with developer(here, "pod/web", tmp_path, "alice", incoming, ephemeral=True):
        assert here.inside("web", STRANGER) == "0 b''"
        with developer(here, "pod/web", tmp_path, "bob", incoming, ephemeral=True):
            pass


IMPOSTOR = """
import socket
server = socket.create_server(("127.0.0.1", 61000))
while True:
    client, _ = server.accept()
    client.recv(65536)
    client.sendall(b"ready x\\n")
"""


def test_program_of_the_pod_that_has_the_port_is_not_taken_for_the_agent(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it answers first, or the agent's container ends first as the port is taken."""
    container = {"name": "web", "image": namespace.cluster.image, "command": ["python3", "-c", IMPOSTOR]}
    namespace.kubectl("apply", "-f", "-", text=pod("web", namespace.cluster.image, containers=[container]))
    namespace.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    monkeypatch.setattr("inpod.targets.kube.ephemeral_place.secrets.randbelow", lambda _: 0)
    error = refused(namespace, is_ephemeral=True)
    assert "It is not the agent that answers" in error.message or "port 61000: Address already in use" in error.message
    assert error.exit_code == ExitCode.AGENT_START


EAVESDROPPER = """
import socket, time
with socket.create_server(("127.0.0.1", 61000)) as server:
    client, _ = server.accept()
open("/tmp/said", "wb").write(client.recv(100).split()[0])
client.close()
time.sleep(600)
"""


def test_program_of_the_pod_is_not_told_the_token_while_the_agent_does_not_listen_yet(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could go to the agent with it, and have code of its own run there, with more rights than it has."""

    def slow(*args: Any) -> list[str]:
        return [word.replace("listener = socket", "time.sleep(3); listener = socket") for word in command(*args)]

    container = {
        "name": "web",
        "image": namespace.cluster.image,
        "command": ["python3", "-c", EAVESDROPPER],
        "securityContext": {"runAsUser": 1000, "capabilities": {"drop": ["ALL"]}},
    }
    namespace.kubectl("apply", "-f", "-", text=pod("web", namespace.cluster.image, containers=[container]))
    namespace.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    monkeypatch.setattr("inpod.targets.kube.ephemeral_place.secrets.randbelow", lambda _: 0)
    monkeypatch.setattr("inpod.targets.kube.start.command", slow)

    async def story() -> None:
        link = await make_target(namespace, "pod/web", is_ephemeral=True).start_agent(lambda what: None)
        await link.close()

    run(story())
    assert namespace.inside("web", "print(open('/tmp/said').read())") == "who"


# What can go wrong.


def test_pod_security_is_told_in_the_servers_words(namespace: Namespace) -> None:
    namespace.kubectl("apply", "-f", "-", text=pod("web", namespace.cluster.image))
    namespace.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    namespace.kubectl("label", "namespace", namespace.name, "pod-security.kubernetes.io/enforce=baseline")
    error = refused(namespace, is_ephemeral=True)
    assert 'violates PodSecurity "baseline:latest"' in error.message
    assert "NET_ADMIN" in error.message
    assert "PodSecurity 'privileged'" in error.hint
    assert error.exit_code == ExitCode.AGENT_START
    assert agents_in(namespace) == []


def test_image_that_cannot_be_pulled_is_told(namespace: Namespace) -> None:
    namespace.kubectl("apply", "-f", "-", text=pod("web", namespace.cluster.image))
    namespace.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    error = refused(namespace, image="localhost/no-such-agent:1", is_ephemeral=True)
    assert error.message.startswith("The agent's image 'localhost/no-such-agent:1' cannot be pulled: ")
    assert len(error.message) > 80, "without the reason"
    assert "--agent-image" in error.hint
    assert error.exit_code == ExitCode.AGENT_START


def test_too_short_a_limit_says_what_was_waited_for(targets: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    def late_and_impatient(*args: Any) -> list[str]:
        changed = {"NOBODY_LIMIT = 60.0": "NOBODY_LIMIT = 5.0", "    listener = ": "    time.sleep(5)\n    listener = "}
        words = command(*args)
        for old, new in changed.items():
            assert old in words[-4]
            words[-4] = words[-4].replace(old, new)
        return words

    monkeypatch.setattr("inpod.targets.kube.start.command", late_and_impatient)
    error = refused(targets, startup_timeout_s=1, is_ephemeral=True)
    assert error.message.startswith("The agent did not start within 1 s; still waiting for ")
    assert error.exit_code == ExitCode.AGENT_START
    # What was added nevertheless ends when nobody comes.
    wait_until_all_have_ended(targets)


def test_pod_without_room_for_another_entry_is_told(namespace: Namespace) -> None:
    """Of 1.5 MiB that etcd takes; here the target's own environment is in the place of hundreds of agents."""
    image = namespace.cluster.image
    container = {
        "name": "web",
        "image": image,
        "command": ["python3", "-c", "import signal; signal.pause()"],
        "env": [{"name": f"FILL_{number}", "value": "x" * 120_540} for number in range(13)],
    }
    namespace.kubectl("create", "-f", "-", text=pod("web", image, containers=[container]))
    namespace.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    error = refused(namespace, is_ephemeral=True)
    assert error.message.startswith("Pod 'web' has no room for another ephemeral container: ")
    assert "without -e" in error.hint
    assert error.exit_code == ExitCode.AGENT_START


WAITS_FOR_ITS_END = "import os, time\nwhile not os.path.exists('/tmp/end'): time.sleep(0.1)"


def test_target_container_that_ends_takes_the_agent_along(targets: Namespace) -> None:
    """It is process 1 of their pid namespace. Another container keeps the pod."""
    image = targets.cluster.image
    containers = [
        {"name": name, "image": image, "command": ["python3", "-c", code]}
        for name, code in (("brief", WAITS_FOR_ITS_END), ("long", "import signal; signal.pause()"))
    ]
    targets.kubectl("apply", "-f", "-", text=pod("two", image, containers=containers, restartPolicy="Never"))
    targets.kubectl("wait", "--for=condition=Ready", "pod/two", "--timeout=60s")
    options, program = ["-e", "--progress", "plain"], ["sh", "-c", "echo up; exec sleep 600"]
    with inpod_exec(targets, "pod/two/container/brief", options, program) as process:
        try:
            assert next_line(process.stdout) == "up"
            targets.kubectl("exec", "two", "-c", "brief", "--", "touch", "/tmp/end", check=False)
            assert process.wait(LIMIT_S) == ExitCode.AGENT_LOST
        finally:
            _, said = end(process)
    gone = "is lost: Container 'brief' of pod 'two' ended, and with it the agent. The program was ended."
    assert f"The agent of pod two, container brief {gone}" in said
    error = refused(targets, "pod/two/container/brief", is_ephemeral=True)
    assert error.message == "Container 'brief' of pod 'two' does not run: it ended with exit code 0."
    assert error.exit_code == ExitCode.TARGET_NOT_READY


# inpod is killed.

KILLED_AT = [
    f"{moment} {call}"
    for call in ("GET pods/NAME", "PATCH pods/NAME", "GET events", "port-forward", "code")
    for moment in ("before", "after")
]


def test_what_is_killed_leaves_agents_that_end(targets: Namespace) -> None:
    """One after the other, so that their ends are waited for together."""
    before = len(agents_in(targets))
    kill_a_session_that_steals(targets)
    kill_between_any_two_calls_of_the_start(targets)
    assert serves(targets)
    wait_until_all_have_ended(targets, within_s=IDLE_LIMIT_S + 30)
    assert len(agents_in(targets)) == before + 1 + len(KILLED_AT) - 3
    assert serves(targets)
    assert ask(targets, "/after") == "original"


def kill_a_session_that_steals(here: Namespace) -> None:
    with session(here, "steal", "-e") as (process, _):
        assert ask(here, "/before") == "program"
        process.kill()
        until("the original serves", lambda: ask(here, "/meanwhile") == "original")


def kill_between_any_two_calls_of_the_start(here: Namespace) -> None:
    for at in range(0, len(KILLED_AT), 3):
        wait_until_killed(here, *KILLED_AT[at : at + 3], way="ephemeral")
