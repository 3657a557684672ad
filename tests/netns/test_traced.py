"""What could break a program, above all a traced one: signals, storms, deaths, odd arguments, other libcs, other users."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.matrix import PROGRAMS, inpod
from tests.netns.conftest import Pod
from tests.netns.pod import ECHO_PORT
from tests.netns.session import ROOT
from tests.netns.test_interceptors import INTERCEPTORS, inside
from tests.packages import need
from tests.processes import LIMIT_S, next_line

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")

CONFIG = "/srv/app/config"

ACCEPT4 = {"x86_64": 288, "aarch64": 242}[os.uname().machine]
"""Number of the system call."""


@pytest.fixture(scope="module")
def static(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs without a dynamic linker."""
    folder = tmp_path_factory.mktemp("static")
    for name in ("signal_storm", "odd_calls", "accept_at_once"):
        source = PROGRAMS / f"{name}.c"
        subprocess.run(["gcc", "-O1", "-Wall", "-static", "-o", folder / name, source], check=True)
    return folder


def failures(lines: list[str]) -> dict[str, dict[int, int]]:
    found: dict[str, dict[int, int]] = {}
    for line in lines:
        what, *pairs = line.split()
        if what != "ticks":
            found[what] = {int(pair.split(":")[0]): int(pair.split(":")[1]) for pair in pairs}
    return found


def test_a_storm_of_signals_breaks_nothing_that_is_restarted(pod: Pod, static: Path, tmp_path: Path) -> None:
    lines = inside(pod, "tracer", static / "signal_storm", "1", tmp_path, CONFIG).splitlines()
    assert failures(lines) == {"made": {}, "read": {}, "bound": {}}
    assert lines[-1] == "ticks many"
    assert len(list(tmp_path.iterdir())) == 1500


def test_a_storm_of_signals_does_nothing_twice(pod: Pod, static: Path, tmp_path: Path) -> None:
    """Without SA_RESTART a call may end with EINTR before it was looked at, never after."""
    lines = inside(pod, "tracer", static / "signal_storm", "0", tmp_path, CONFIG).splitlines()
    found = failures(lines)
    assert all(set(errors) <= {4} for errors in found.values()), found  # EINTR
    assert len(list(tmp_path.iterdir())) == 1500 - found["made"].get(4, 0)


@pytest.mark.parametrize("wait", ["accept", "connect"])
def test_a_signal_ends_a_call_that_waits(pod: Pod, wait: str) -> None:
    code = (
        "import signal, socket, time\n"
        "class Rang(Exception): pass\n"
        "def ring(*_): signal.setitimer(signal.ITIMER_REAL, 0); raise Rang\n"
        "signal.signal(signal.SIGALRM, ring)\n"
        "sock = socket.socket()\n"
        "if %r == 'accept': sock.bind(('0.0.0.0', 21000)); sock.listen(); wait = sock.accept\n"
        "else: wait = lambda: sock.connect(('10.77.0.250', 9))\n"
        # Again and again: Python hears only later of one that comes just before the call.
        "begun = time.monotonic()\n"
        "try: signal.setitimer(signal.ITIMER_REAL, 0.3, 0.3); wait()\n"
        "except Rang: print('rang', time.monotonic() - begun < 2)"
    )
    assert inside(pod, "tracer", sys.executable, "-c", code % wait).strip() == "rang True"


@pytest.mark.parametrize("interceptor", INTERCEPTORS)
def test_storms_of_children_and_threads(pod: Pod, interceptor: str) -> None:
    shells = "for i in $(seq 300); do (cat /srv/app/config >/dev/null && /bin/true || echo failed $?) 2>&1 & done; wait; echo done"
    assert inside(pod, interceptor, "sh", "-c", shells) == "done\n"
    code = (
        "import concurrent.futures, os, subprocess\n"
        "def work(n):\n"
        "    text = open('/srv/app/config').read()\n"
        "    os.stat('/usr'); os.listdir('/srv/app')\n"
        "    return subprocess.run(['/bin/echo', text], capture_output=True, text=True, check=True).stdout\n"
        "with concurrent.futures.ThreadPoolExecutor(16) as pool: print(set(pool.map(work, range(200))))"
    )
    assert inside(pod, interceptor, sys.executable, "-c", code).strip() == r"{'key: value\n\n'}"


@pytest.mark.parametrize("interceptor", INTERCEPTORS)
def test_a_storm_of_threads_that_connect_at_once(pod: Pod, interceptor: str) -> None:
    """Each in blocking calls of its own, all begun at the same moment; again and again."""
    code = (
        "import socket, threading\n"
        f"there = ('10.77.0.1', {ECHO_PORT})\n"
        "threading.stack_size(256 << 10)\n"
        "begin, lock, found = threading.Barrier(500), threading.Lock(), set()\n"
        "def work(number):\n"
        "    begin.wait()\n"
        "    with socket.create_connection(there) as sock:\n"
        "        sock.sendall(b'%d' % number)\n"
        "        said = sock.recv(9) == b'%d' % number, sock.getpeername() == there, open('/srv/app/config').read()\n"
        "    with lock: found.add(said)\n"
        "for _ in range(3):\n"
        "    threads = [threading.Thread(target=work, args=[number]) for number in range(500)]\n"
        "    [thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        "print(found)"
    )
    assert inside(pod, interceptor, sys.executable, "-c", code).strip() == r"{(True, True, 'key: value\n')}"


def test_many_threads_accept_on_one_blocking_listener(pod: Pod) -> None:
    code = (
        "import socket, threading\n"
        "listener = socket.create_server(('127.0.0.1', 0), backlog=128)\n"
        "lock, peers = threading.Lock(), []\n"
        "def serve():\n"
        "    while True:\n"
        "        sock, peer = listener.accept()\n"
        "        with sock: sock.sendall(sock.recv(100))\n"
        "        with lock: peers.append(peer)\n"
        "for _ in range(8): threading.Thread(target=serve, daemon=True).start()\n"
        "for n in range(300):\n"
        "    with socket.create_connection(listener.getsockname()) as sock:\n"
        "        sock.sendall(b'%d' % n); assert sock.recv(100) == b'%d' % n\n"
        "print('served')"
    )
    assert inside(pod, "tracer", sys.executable, "-c", code).strip() == "served"


def test_no_thread_sees_that_its_listener_does_not_block_for_a_moment(pod: Pod, static: Path) -> None:
    """It is made so while another one's call is made."""
    assert inside(pod, "tracer", static / "accept_at_once", "21001") == "served 1200 failed 0\n"


def test_no_thread_sees_that_a_socket_of_datagrams_does_not_block_for_a_moment(pod: Pod) -> None:
    """One thread asks for addresses, which is decided in the session, and one does not."""
    code = (
        "import socket, threading\n"
        "sock, other = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))\n"
        "sock.bind(('0.0.0.0', 21003))\n"
        "failed = []\n"
        "def receive(take):\n"
        "    try:\n"
        "        while take() != b'end': pass\n"
        "    except BlockingIOError as error: failed.append(error)\n"
        "takes = lambda: sock.recvfrom(9)[0], lambda: sock.recv(9)\n"
        "threads = [threading.Thread(target=receive, args=[take]) for take in takes]\n"
        "for thread in threads: thread.start()\n"
        "for _ in range(3000): other.sendto(b'more', ('127.0.0.1', 21003))\n"
        "while any(thread.is_alive() for thread in threads): other.sendto(b'end', ('127.0.0.1', 21003))\n"
        "print(failed)"
    )
    assert inside(pod, "tracer", sys.executable, "-c", code).strip() == "[]"


def test_worker_that_was_killed_takes_no_connection(pod: Pod) -> None:
    """What it would have accepted is for the others that have its listener."""
    code = (
        "import os, signal, socket\n"
        "signal.alarm(60)\n"
        "listener = socket.create_server(('0.0.0.0', 21002))\n"
        "for _ in range(30):\n"
        "    worker = os.fork()\n"
        "    if not worker: listener.accept()\n"
        "    while open(f'/proc/{worker}/syscall').read().split()[0] != 'ACCEPT4': pass\n"
        "    os.kill(worker, signal.SIGKILL); os.waitpid(worker, 0)\n"
        "    with socket.create_connection(('127.0.0.1', 21002)) as mine:\n"
        "        with listener.accept()[0] as sock: sock.sendall(b'hello')\n"
        "        assert mine.recv(9) == b'hello'\n"
        "print('served')"
    )
    assert inside(pod, "tracer", sys.executable, "-c", code.replace("ACCEPT4", str(ACCEPT4))).strip() == "served"


def test_odd_arguments_fail_as_ever(pod: Pod, static: Path, tmp_path: Path) -> None:
    """The kernel's own answer, whoever is asked first."""
    for seed in ("1", "2"):
        # At the same addresses each time: they are arguments too.
        command = ["setarch", "-R", str(static / "odd_calls"), seed, "3000"]
        alone = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True).stdout.splitlines()
        traced = inside(pod, "tracer", "env", f"--chdir={tmp_path}", *command).splitlines()
        different = Counter((a, b) for a, b in zip(alone, traced, strict=True) if a != b)
        assert not different, different


def test_killed_inpod_takes_traced_programs_along(pod: Pod, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "inpod",
        "exec",
        "-t",
        f"pid/{pod.pid}",
        "--interceptor",
        "tracer",
        "--progress",
        "off",
    ]
    code = "while :; do cat /srv/app/config > /dev/null; done & sleep 300 & echo $$ $! $INPOD_SESSION; wait"
    with subprocess.Popen([*command, "--", "sh", "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        program, child, folder = next_line(process.stdout).split()
        process.kill()
    end = time.monotonic() + LIMIT_S
    left = [Path("/proc", program, "exe"), Path("/proc", child, "exe"), Path(folder)]
    while any(os.path.lexists(path) and is_alive(path) for path in left):
        assert time.monotonic() < end, left
        time.sleep(0.02)


def test_no_call_of_what_is_left_fails_before_it_is_ended(pod: Pod, tmp_path: Path) -> None:
    """Without who holds the listener, trapped calls of children in sessions of their own would be ENOSYS for a moment."""
    code = (
        "import os, sys\n"
        "said = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
        "for _ in range(4):\n"
        "    if os.fork(): continue\n"
        "    os.setsid(); os.write(1, b'%d\\n' % os.getpid())\n"
        "    while True:\n"
        "        try: os.close(os.open('/srv/app/config', os.O_RDONLY))\n"
        "        except OSError as error: os.write(said, b'%d ' % error.errno)\n"
        "os.write(1, os.environb[b'INPOD_SESSION'] + b'\\n'); os.wait()"
    )
    options = ["-t", f"pid/{pod.pid}", "--interceptor", "tracer", "--progress", "off"]
    command = [*inpod(), "exec", *options, "--", sys.executable, "-c", code, str(tmp_path / "said")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        said = [next_line(process.stdout) for _ in range(5)]
        process.kill()
    end = time.monotonic() + LIMIT_S
    left = [Path("/proc", each, "exe") if each.isdigit() else Path(each) for each in said]
    while any(os.path.lexists(path) and is_alive(path) for path in left):
        assert time.monotonic() < end, left
        time.sleep(0.02)
    assert (tmp_path / "said").read_text() == ""


def is_alive(path: Path) -> bool:
    """A zombie has no program any more."""
    if path.name != "exe":
        return path.exists()
    try:
        path.readlink()
    except OSError:
        return False
    return True


def test_program_that_is_killed_while_a_call_of_it_is_decided(pod: Pod) -> None:
    code = "import socket; print('going', flush=True); socket.create_connection(('10.77.0.250', 9))"
    command = [
        sys.executable,
        "-m",
        "inpod",
        "exec",
        "-t",
        f"pid/{pod.pid}",
        "--interceptor",
        "tracer",
        "--progress",
        "off",
    ]
    program = ["sh", "-c", 'echo $$; exec "$@"', "sh", sys.executable, "-c", code]
    with subprocess.Popen([*command, "--", *program], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        pid = int(next_line(process.stdout))
        assert next_line(process.stdout) == "going"
        os.kill(pid, signal.SIGKILL)
        assert process.wait(LIMIT_S) == -signal.SIGKILL


def test_stopped_program_goes_on(pod: Pod) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP); print(open('/srv/app/config').read())"
    command = [
        sys.executable,
        "-m",
        "inpod",
        "exec",
        "-t",
        f"pid/{pod.pid}",
        "--interceptor",
        "tracer",
        "--progress",
        "off",
    ]
    program = ["sh", "-c", 'echo $$; exec "$@"', "sh", sys.executable, "-c", code]
    with subprocess.Popen([*command, "--", *program], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        pid = int(next_line(process.stdout))
        end = time.monotonic() + LIMIT_S
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
            assert time.monotonic() < end
            time.sleep(0.01)
        os.kill(pid, signal.SIGCONT)
        assert next_line(process.stdout) == "key: value"
        assert process.wait(LIMIT_S) == 0


CONTINUED_AT_ONCE = """
import os, signal, sys
wait = os.waitid
def wait_and_continue(kind, pid, options):
    found = wait(kind, pid, options)
    if found and found.si_code == os.CLD_STOPPED and options & os.WNOWAIT:
        os.kill(pid, signal.SIGCONT)
    return found
os.waitid = wait_and_continue
from inpod.cli.main import main
sys.exit(main())
"""
"""An inpod whose program is continued when its stop was seen, and not yet taken."""


def test_stop_of_the_tracers_own_is_left_to_it(pod: Pod) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP); os.chdir('/srv/app'); print(os.getcwd())"
    options = ["-t", f"pid/{pod.pid}", "--interceptor", "tracer", "--progress", "off"]
    command = [sys.executable, "-c", CONTINUED_AT_ONCE, "exec", *options, "--", sys.executable, "-c", code]
    assert subprocess.check_output(command, text=True, cwd=ROOT, timeout=LIMIT_S) == "/srv/app\n"


MUSL = """
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(void) {
    char text[64] = "", ip[64] = "none";
    FILE *file = fopen("/srv/app/config", "r");
    if (!file || !fgets(text, sizeof text, file)) return 1;
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
    int failed = getaddrinfo("me.test", "80", &hints, &found);
    if (!failed) inet_ntop(AF_INET, &((struct sockaddr_in *)found->ai_addr)->sin_addr, ip, sizeof ip);
    printf("%s%s %s\\n", text, failed ? gai_strerror(failed) : "resolved", ip);
    return 0;
}
"""


@pytest.mark.parametrize("how", ["-static", "-dynamic"])
def test_musl_reads_and_resolves_in_the_pod(pod: Pod, tmp_path: Path, how: str) -> None:
    (tmp_path / "musl.c").write_text(MUSL)
    flags = ["-static"] if how == "-static" else []
    subprocess.run([need("musl-gcc"), *flags, "-o", tmp_path / "musl", tmp_path / "musl.c"], check=True)
    command = ["nsenter", "-t", str(pod.pid), "-n", sys.executable, str(PROGRAMS / "dns_server.py"), "10.77.0.1", "53"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert next_line(server.stdout) == "ready"
        # Which /etc/resolv.conf of the pod leads to.
        servers = Path(f"/proc/{pod.pid}/root/run/resolv.conf")
        before = servers.read_text()
        servers.write_text("nameserver 10.77.0.1\n")
        try:
            # The name server tells an asker's own address: asked from the pod, it is the pod's.
            assert inside(pod, "auto", tmp_path / "musl") == "key: value\nresolved 10.77.0.1\n"
        finally:
            servers.write_text(before)


def test_program_that_gives_its_user_up_still_reads_the_pod(pod: Pod) -> None:
    """What is the pod's is opened with the session's rights (docs/limits.md)."""
    code = "import os; os.setgid(65534); os.setuid(65534); print(os.getuid(), open('/srv/app/config').read())"
    assert inside(pod, "tracer", sys.executable, "-c", code).split() == ["65534", "key:", "value"]
