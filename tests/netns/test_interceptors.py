"""The same programs under the layer and under the tracer, and those that only the tracer reaches."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.matrix import PROGRAMS
from tests.netns.conftest import Pod
from tests.netns.pod import ECHO_PORT
from tests.netns.session import ROOT
from tests.processes import LIMIT_S, next_line

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")

SERVER = ("10.77.0.1", 5353)
INTERCEPTORS = ("layer", "tracer")

ASK = """
import socket, struct
def ask(sock, name, to=None):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    query = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\\0" + struct.pack(">HH", 16, 1)
    sock.sendto(query, to) if to else sock.send(query)
    answer, sender = sock.recvfrom(65536)
    return len(answer) - len(query) - 12, sender
"""
"""Asks a name server for a text; returns its length and who answered."""


@pytest.fixture(scope="module")
def name_server(pod: Pod) -> Iterator[None]:
    command = ["nsenter", "-t", str(pod.pid), "-n", sys.executable, str(PROGRAMS / "dns_server.py")]
    with subprocess.Popen(
        [*command, SERVER[0], str(SERVER[1])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert next_line(process.stdout) == "ready"
        yield


def inside(pod: Pod, interceptor: str, *command: str | Path, mode: str = "off", **extra: str) -> str:
    """Return what a program prints in the place of the pod; it must succeed."""
    done = exec_in(pod, interceptor, *command, mode=mode, **extra)
    assert done.returncode == 0, done.stderr
    return done.stdout


def exec_in(
    pod: Pod, interceptor: str, *command: str | Path, mode: str = "off", **extra: str
) -> "subprocess.CompletedProcess[str]":
    options = ["-t", f"pid/{pod.pid}", "--interceptor", interceptor, "--progress", "plain"]
    return subprocess.run(
        [sys.executable, "-m", "inpod", "exec", *options, "--", *command],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=2 * LIMIT_S,
        cwd=ROOT,
        env=os.environ | extra,
    )


@pytest.mark.usefixtures("name_server")
@pytest.mark.parametrize("interceptor", INTERCEPTORS)
def test_datagrams_of_connected_sockets_leave_from_the_pod(pod: Pod, interceptor: str) -> None:
    code = f"{ASK}\nsock = socket.socket(type=socket.SOCK_DGRAM)\nsock.connect({SERVER})\n"
    code += "print(ask(sock, '1000.test'), sock.getpeername(), ask(sock, '30000.test'))"
    sizes = [1000 + 4, 30000 + 118]  # 255 letters to a piece
    expected = f"({sizes[0]}, {SERVER}) {SERVER} ({sizes[1]}, {SERVER})"
    assert inside(pod, interceptor, sys.executable, "-c", code).strip() == expected


@pytest.mark.usefixtures("name_server")
@pytest.mark.parametrize("interceptor", INTERCEPTORS)
def test_datagrams_with_addresses_leave_from_the_pod(pod: Pod, interceptor: str) -> None:
    code = f"{ASK}\nsock = socket.socket(type=socket.SOCK_DGRAM)\n"
    code += f"print(*(ask(sock, '1000.test', {SERVER}) for _ in range(3)))"
    assert inside(pod, interceptor, sys.executable, "-c", code).strip() == " ".join([f"(1004, {SERVER})"] * 3)


@pytest.mark.usefixtures("name_server")
@pytest.mark.parametrize("interceptor", INTERCEPTORS)
def test_messages_tell_the_pods_sender(pod: Pod, interceptor: str) -> None:
    """In two parts, and as the resolver of newer musls takes its answers."""
    ask = ASK.replace(
        "answer, sender = sock.recvfrom(65536)",
        "head, body = bytearray(20), bytearray(5000)\n"
        "    length, _, flags, sender = sock.recvmsg_into([head, body])\n"
        "    answer = bytes(head + body)[:length]",
    )
    assert "recvmsg_into" in ask
    code = f"{ask}\nsock = socket.socket(type=socket.SOCK_DGRAM)\nsock.connect({SERVER})\nprint(ask(sock, '1000.test'))"
    assert inside(pod, interceptor, sys.executable, "-c", code).strip() == f"(1004, {SERVER})"


@pytest.mark.usefixtures("name_server")
@pytest.mark.parametrize("interceptor", INTERCEPTORS)
def test_a_resolver_that_checks_its_peer_is_content(pod: Pod, interceptor: str) -> None:
    """c-ares, in Node, takes an answer from the server that it asked only."""
    code = (
        'const dns = require("dns"); dns.setServers(["%s:%s"]);'
        'dns.resolveTxt("100.test", (error, found) => console.log(error ? error.code : found[0].join("").length));'
    )
    assert inside(pod, interceptor, "node", "-e", code % SERVER).strip() == "100"


@pytest.mark.parametrize("interceptor", INTERCEPTORS)
def test_refused_datagrams_are_told(pod: Pod, interceptor: str) -> None:
    code = (
        "import socket, time\nsock = socket.socket(type=socket.SOCK_DGRAM)\nsock.connect(('10.77.0.1', 9))\n"
        "for _ in range(200):\n    try: sock.send(b'x')\n"
        "    except ConnectionRefusedError: print('refused'); break\n    time.sleep(0.02)"
    )
    assert inside(pod, interceptor, sys.executable, "-c", code).strip() == "refused"


@pytest.mark.parametrize("status", [0, 7])
def test_status_of_a_traced_program_is_its_own(pod: Pod, status: int) -> None:
    assert exec_in(pod, "tracer", "sh", "-c", f"exit {status}").returncode == status


def test_signal_of_a_traced_program_is_its_own(pod: Pod) -> None:
    assert exec_in(pod, "tracer", "sh", "-c", "kill -TERM $$").returncode == -15


def test_children_of_a_traced_program_are_traced(pod: Pod) -> None:
    code = "cat /srv/app/config; env -i cat /srv/app/config; (cd /srv/current && pwd && cat config && cd .. && pwd)"
    told = inside(pod, "tracer", "sh", "-c", code).split()
    by_layer = inside(pod, "layer", "sh", "-c", code).split()
    assert told == by_layer
    assert told[:4] == ["key:", "value"] * 2


@pytest.fixture(scope="module")
def static_cat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program without a dynamic linker that prints a file, and its environment's names that concern us."""
    folder = tmp_path_factory.mktemp("static")
    (folder / "cat.c").write_text(
        "#include <stdio.h>\n#include <stdlib.h>\n"
        'int main(int argc, char **argv) { int c; FILE *file = fopen(argv[argc - 1], "r"); if (!file) return 9;\n'
        "while ((c = getc(file)) != EOF) putchar(c);\n"
        'return getenv("LD_PRELOAD") || getenv("INPOD_EXEC") || !getenv("INPOD_SESSION"); }\n'
    )
    subprocess.run(["gcc", "-static", "-o", folder / "cat", folder / "cat.c"], check=True)
    return folder / "cat"


@pytest.mark.parametrize("way", ["sh", "python", "node", "java", "make"])
def test_static_child_of_a_program_under_the_layer_is_traced(
    pod: Pod, static_cat: Path, tmp_path: Path, way: str
) -> None:
    text = inside(pod, "layer", "cat", "/srv/app/config")
    (tmp_path / "Makefile").write_text(f"all:\n\t@{static_cat} /srv/app/config\n")
    (tmp_path / "Starts.java").write_text(
        "public class Starts { public static void main(String[] words) throws Exception {\n"
        "System.exit(new ProcessBuilder(words).inheritIO().start().waitFor()); } }"
    )
    ways = {
        "sh": ["sh", "-c", f"{static_cat} /srv/app/config"],
        "python": [
            sys.executable,
            "-c",
            f"import subprocess; subprocess.run(['{static_cat}', '/srv/app/config'], check=True)",
        ],
        "node": [
            "node",
            "-e",
            f"process.stdout.write(require('child_process').execFileSync('{static_cat}', ['/srv/app/config']))",
        ],
        "java": ["java", str(tmp_path / "Starts.java"), str(static_cat), "/srv/app/config"],
        "make": ["make", "-C", str(tmp_path), "--no-print-directory"],
    }
    assert inside(pod, "auto", *ways[way]) == text


def test_a_storm_of_static_children(pod: Pod, static_cat: Path) -> None:
    """Each is traced by a filter of its own: first one after the other, then many at a time."""
    start = f"{static_cat} /srv/app/config >/dev/null || echo failed"
    code = f"for i in $(seq 300); do {start}; done; for i in $(seq 300); do ({start}) & done; wait; echo done"
    assert inside(pod, "auto", "sh", "-c", code) == "done\n"


@pytest.mark.parametrize("interceptor", ["auto", "tracer"])
@pytest.mark.parametrize("way", ["sh", "exec", "python", "node"])
def test_program_that_only_the_pod_has_is_executed(pod: Pod, static_cat: Path, interceptor: str, way: str) -> None:
    folder = Path(f"/proc/{pod.pid}/root/srv/bin")
    folder.mkdir(exist_ok=True)
    for name, content in (("cat", static_cat.read_bytes()), ("script", b'#!/bin/sh\n/srv/bin/cat "$1"; echo "$0"\n')):
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o755)
    ways = {
        "sh": ["sh", "-c", "/srv/bin/script /srv/app/config"],
        "exec": ["sh", "-c", "exec /srv/bin/script /srv/app/config"],
        "python": [
            sys.executable,
            "-c",
            "import subprocess; subprocess.run(['/srv/bin/script', '/srv/app/config'], check=True)",
        ],
        "node": [
            "node",
            "-e",
            "process.stdout.write(require('child_process').execFileSync('/srv/bin/script', ['/srv/app/config']))",
        ],
    }
    assert inside(pod, interceptor, *ways[way]) == "key: value\n/srv/bin/script\n"


@pytest.mark.parametrize("clears", ["", "env -i setsid "])
def test_what_a_traced_program_leaves_behind_ends_with_it(pod: Pod, tmp_path: Path, clears: str) -> None:
    left = tmp_path / "left"
    child = f"sh -c 'echo $$ > {left}.new; mv {left}.new {left}; while :; do sleep 300; done'"
    done = exec_in(pod, "tracer", "sh", "-c", f"{clears}{child} & while [ ! -e {left} ]; do sleep 0.05; done")
    assert done.returncode == 0
    assert " processes that the program left behind are ended" in done.stderr
    assert " 0 processes" not in done.stderr
    state = subprocess.run(["ps", "-o", "stat=", "-p", left.read_text().strip()], capture_output=True, text=True).stdout
    assert state[:1] in ("", "Z")


def test_what_a_program_under_the_layer_leaves_behind_goes_on_on_this_machine(pod: Pod, tmp_path: Path) -> None:
    code = (
        "import os, socket, sys, time\n"
        "def said(call):\n"
        "    try: return str(call())\n"
        "    except OSError as error: return type(error).__name__\n"
        f"sock = socket.create_connection(('10.77.0.1', {ECHO_PORT})); text = open('/srv/app/config').read()\n"
        "open(sys.argv[1] + '/begun', 'w').close()\n"
        "while not os.path.exists(sys.argv[1] + '/alone'): time.sleep(0.05)\n"
        "calls = [lambda: sock.recv(9), lambda: open('/srv/app/config').read(), lambda: os.listdir(sys.argv[1]) != [],\n"
        "         lambda: socket.gethostbyname('only.default.test'), lambda: socket.create_server(('0.0.0.0', 0)).fileno() > 0]\n"
        "found = [said(call) for call in calls]\n"
        "open(sys.argv[1] + '/new', 'w').write(' '.join(found)); os.rename(sys.argv[1] + '/new', sys.argv[1] + '/said')"
    )
    (tmp_path / "left.py").write_text(code)
    start = f"setsid {sys.executable} {tmp_path}/left.py {tmp_path} >/dev/null 2>&1 &"
    inside(pod, "layer", "sh", "-c", f"{start} while [ ! -e {tmp_path}/begun ]; do sleep 0.05; done")
    (tmp_path / "alone").touch()
    end = time.monotonic() + LIMIT_S
    while not (tmp_path / "said").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    connection, *calls = (tmp_path / "said").read_text().split()
    assert connection in ("b''", "ConnectionResetError")
    assert calls == ["FileNotFoundError", "True", "gaierror", "True"]


def test_nested_tracer_is_told(pod: Pod) -> None:
    """A process can have one listener."""
    words = [sys.executable, "-m", "inpod", "exec", "-t", f"pid/{pod.pid}", "--interceptor", "tracer", "--", "true"]
    done = exec_in(pod, "tracer", *words)
    assert done.returncode == 71, done.stderr
    assert "another tracer has it" in done.stderr


@pytest.mark.parametrize(
    ("outer", "inner"), [("layer", "layer"), ("layer", "tracer"), ("auto", "tracer"), ("tracer", "layer")]
)
def test_inpod_in_inpod(pod: Pod, outer: str, inner: str) -> None:
    """The program stands where the inner one says; here both say the same."""
    options = ["-t", f"pid/{pod.pid}", "--interceptor", inner]
    code = "import os, socket; print(open('/srv/app/config').read(), 'layer' in os.environ.get('LD_PRELOAD', ''))"
    words = [sys.executable, "-m", "inpod", "exec", *options, "--", sys.executable, "-c", code]
    assert inside(pod, outer, *words) == f"key: value\n {inner == 'layer'}\n"


@pytest.mark.parametrize("interceptor", INTERCEPTORS)
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_stay_closed(pod: Pod, tmp_path: Path, interceptor: str, closed: str) -> None:
    code = (
        "import os, sys\n"
        "def is_closed(fd):\n"
        "    try: os.fstat(fd)\n"
        "    except OSError: return True\n"
        "found = [fd for fd in (0, 1, 2) if is_closed(fd)]\n"
        f"open('{tmp_path}/said', 'w').write(f'{{found}} ' + open('/srv/app/config').read())"
    )
    options = f"-t pid/{pod.pid} --interceptor {interceptor} -- {sys.executable} -c"
    words = ["sh", "-c", f'{sys.executable} -m inpod exec {options} "$1" {closed}', "sh", code]
    subprocess.run(words, check=True, cwd=ROOT, timeout=2 * LIMIT_S)
    expected = [0, 1, 2] if len(closed) > 5 else [{"<&-": 0, ">&-": 1, "2>&-": 2}[closed]]
    assert (tmp_path / "said").read_text() == f"{expected} key: value\n"


@pytest.fixture(scope="module")
def deny_call(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs a command on a machine that lacks something."""
    program = tmp_path_factory.mktemp("deny") / "deny_call"
    subprocess.run(["gcc", "-O1", "-Wall", "-o", program, PROGRAMS / "deny_call.c"], check=True)
    return program


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [
        (317, errno.EINVAL, "Linux 5.19 or later is needed"),  # seccomp(2)
        (317, errno.ENOSYS, "no seccomp user notification"),
        (438, errno.EPERM, "may not look into it"),  # pidfd_getfd(2)
        (310, errno.EPERM, "may not look into it"),  # process_vm_readv(2)
    ],
)
def test_machine_that_cannot_trace_says_so(
    pod: Pod, deny_call: Path, static_cat: Path, number: int, code: int, said: str
) -> None:
    def lacking(interceptor: str, *command: str) -> "subprocess.CompletedProcess[str]":
        options = ["-t", f"pid/{pod.pid}", "--interceptor", interceptor, "--progress", "plain", "--"]
        words = [str(deny_call), str(number), str(code), sys.executable, "-m", "inpod", "exec", *options, *command]
        return subprocess.run(words, capture_output=True, text=True, timeout=2 * LIMIT_S, cwd=ROOT)

    for interceptor in ("tracer", "auto"):
        done = lacking(interceptor, str(static_cat), "/srv/app/config")
        assert (done.returncode, done.stdout, said in done.stderr) == (71, "", True), done.stderr
    done = lacking("auto", "cat", "/srv/app/config")
    assert (done.returncode, done.stdout) == (0, "key: value\n")
