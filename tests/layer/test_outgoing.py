"""How programs connect to the pod's world."""

import errno
import os
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator

import pytest

from inpod.protocol.layer import Connect
from tests.fakes.pod import Pod
from tests.layer.conftest import Stage, is_root

FAR = "10.9.9.9"
ECHO, REFUSED, UNREACHABLE, TIMED_OUT = 5432, 81, 82, 83

pytestmark = pytest.mark.parametrize("interceptor", ["layer", "tracer"])


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


@pytest.fixture
def pod() -> Iterator[Pod]:
    """One service that echoes, and ports that fail in the pod in three ways."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_address[1]
        yield Pod(
            names={"db": [FAR]},
            services={
                (FAR, ECHO): port,
                ("fd00::9", ECHO): port,
                (FAR, REFUSED): OSError(errno.ECONNREFUSED, ""),
                (FAR, UNREACHABLE): OSError(errno.EHOSTUNREACH, ""),
                (FAR, TIMED_OUT): OSError(errno.ETIMEDOUT, ""),
            },
        )
        server.shutdown()


def test_connection_and_its_addresses_are_the_pods(stage: Stage) -> None:
    script = (
        f"import socket; s = socket.create_connection(('{FAR}', {ECHO})); s.sendall(b'hi'); print(s.recv(9).decode());"
        "print(*s.getpeername()); print(*s.getsockname())"
    )
    assert stage.output("python3", "-c", script) == f"hi\n{FAR} {ECHO}\n10.1.2.3 40000\n"
    (request,) = stage.session.asked(Connect)
    assert str(request.to) == f"{FAR}:{ECHO}"


@pytest.mark.parametrize("host", ["fd00::9", f"::ffff:{FAR}"])
@pytest.mark.parametrize("is_v6_only", [False, True])
def test_ipv6_socket_connects(stage: Stage, host: str, is_v6_only: bool) -> None:
    script = (
        "import socket; s = socket.socket(socket.AF_INET6);"
        f"s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, {int(is_v6_only)});"
        f"s.connect(({host!r}, {ECHO})); s.sendall(b'hi'); print(s.recv(9).decode(), s.getpeername()[0])"
    )
    assert stage.output("python3", "-c", script) == f"hi {host}\n"


@pytest.mark.parametrize(
    ("port", "name"), [(REFUSED, "ECONNREFUSED"), (UNREACHABLE, "EHOSTUNREACH"), (TIMED_OUT, "ETIMEDOUT")]
)
def test_failed_connect_has_the_pods_errno(stage: Stage, port: int, name: str) -> None:
    script = (
        "import socket,errno\n"
        f"try: socket.socket().connect(('{FAR}', {port}))\n"
        "except OSError as error: print(errno.errorcode[error.errno])"
    )
    assert stage.output("python3", "-c", script) == f"{name}\n"
    for way in ("poll", "epoll"):
        out = stage.output("connect_by_polling", way, FAR, str(port))
        assert out == f"connect EINPROGRESS\nready 1\nSO_ERROR {name}\nthen 0\n"
    out = stage.output("connect_by_polling", "again", FAR, str(port))
    assert out in (f"connect EINPROGRESS\nagain {name}\n", f"connect EINPROGRESS\nagain EALREADY\nagain {name}\n")


@pytest.mark.parametrize("way", ["poll", "epoll"])
def test_nonblocking_connect_is_undecided_until_the_pod_decides(stage: Stage, way: str) -> None:
    stage.session.gate.clear()
    process = stage.start("connect_by_polling", way, FAR, str(ECHO))
    assert process.stdout is not None
    assert process.stdout.readline() == "connect EINPROGRESS\n"
    with pytest.raises(TimeoutError):
        _read_within(process.stdout.fileno(), 0.3)
    stage.session.gate.set()
    out, _ = process.communicate(timeout=20)
    assert out == "ready 1\nSO_ERROR ok\nthen 0\n"


def test_connect_asked_again_says_how_it_goes(stage: Stage) -> None:
    stage.session.gate.clear()
    process = stage.start("connect_by_polling", "again", FAR, str(ECHO))
    assert process.stdout is not None
    assert process.stdout.readline() == "connect EINPROGRESS\n"
    assert process.stdout.readline() == "again EALREADY\n"
    stage.session.gate.set()
    out, _ = process.communicate(timeout=20)
    assert out in ("again ok\n", "again EISCONN\n")
    assert len(stage.session.asked(Connect)) == 1


def test_waiting_connect_can_be_cancelled_and_interrupted(stage: Stage) -> None:
    stage.session.gate.clear()
    out = stage.output("cancel_waiting", "connect", FAR, str(ECHO))
    assert out == "cancelled 1 cleaned 1 said nothing\ninterrupted EINTR\n"


def test_socket_that_failed_connects_elsewhere(stage: Stage) -> None:
    script = (
        "import socket; s = socket.socket()\n"
        f"print(s.connect_ex(('{FAR}', {REFUSED})), s.connect_ex(('{FAR}', {ECHO})), s.getpeername()[1])"
    )
    assert stage.output("python3", "-c", script) == f"{errno.ECONNREFUSED} 0 {ECHO}\n"


def test_connect_with_the_first_bytes_is_refused_as_where_the_kernel_lacks_it(stage: Stage) -> None:
    """MSG_FASTOPEN: its programs then connect as ever."""
    script = (
        "import socket\n"
        "s = socket.socket()\n"
        "try: s.sendto(b'x', 0x20000000, ('10.1.2.4', 80))\n"
        "except OSError as error: print(error.errno)\n"
    )
    assert int(stage.output("python3", "-c", script)) == errno.EOPNOTSUPP


@pytest.mark.skipif(not is_root(), reason="changes its user")
def test_program_that_changes_its_user_first_of_all_connects(stage: Stage) -> None:
    assert stage.output("drop_rights", FAR, str(ECHO)) == "h\n"


def test_debugger_port_stays_here(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        stage.session.add_rule(f"local-port\t{port}")
        stage.output("python3", "-c", f"import socket; socket.create_connection(('127.0.0.1', {port}))")
    assert stage.session.asked(Connect) == []


def test_own_listener_is_reached(stage: Stage) -> None:
    script = (
        "import socket\n"
        "for host in ('0.0.0.0', '127.0.0.1'):\n"
        " for port in (0, 8000):\n"
        "  s = socket.create_server((host, port)); name = s.getsockname()\n"
        "  c = socket.create_connection(('127.0.0.1', name[1])); a, peer = s.accept()\n"
        "  a.sendall(b'x'); print(name[0], c.recv(1).decode(), peer == c.getsockname(), c.getpeername()[1] == name[1])\n"
        "  s.close(); a.close(); c.close()"
    )
    yes = "x True True\n"
    assert stage.output("python3", "-c", script) == f"0.0.0.0 {yes}" * 2 + f"127.0.0.1 {yes}" * 2


def test_unix_sockets_and_udp_are_left_alone(stage: Stage) -> None:
    script = (
        "import socket; a, b = socket.socketpair(); print(a.getsockname() == '');"
        "u = socket.socket(type=socket.SOCK_DGRAM); u.bind(('127.0.0.1', 0));"
        "v = socket.socket(type=socket.SOCK_DGRAM); v.connect(u.getsockname()); v.send(b'x'); print(u.recv(9));"
        "w = socket.socket(socket.AF_UNIX); w.bind('\\0' + 'n' * 90); print(len(w.getsockname()))"
    )
    assert stage.output("python3", "-c", script) == "True\nb'x'\n91\n"
    assert stage.session.asked(Connect) == []


def test_interfaces_are_this_machines(stage: Stage) -> None:
    """hostname(1) asks getifaddrs(3)."""
    assert stage.output("hostname", "--all-ip-addresses") == subprocess.check_output(["hostname", "-I"], text=True)


def test_bulk_passes_whole(stage: Stage) -> None:
    script = (
        "import socket,threading,hashlib,os\n"
        f"s = socket.create_connection(('{FAR}', {ECHO})); data = os.urandom(8 << 20)\n"
        "def send():\n s.sendall(data); s.shutdown(1)\n"
        "t = threading.Thread(target=send); t.start(); got = b''.join(iter(lambda: s.recv(65536), b'')); t.join()\n"
        "print(got == data)"
    )
    assert stage.output("python3", "-c", script) == "True\n"


def test_many_threads_connect_at_once(stage: Stage) -> None:
    script = (
        "import socket,concurrent.futures as f\n"
        "def one(n):\n"
        f" port = {ECHO} if n % 2 else {REFUSED}\n"
        " s = socket.socket()\n"
        f" e = s.connect_ex(('{FAR}', port))\n"
        " if e: return e\n"
        " s.sendall(b'%d' % n); return int(s.recv(9)) - n\n"
        "with f.ThreadPoolExecutor(16) as pool: print(*sorted(set(pool.map(one, range(200)))))"
    )
    assert stage.output("python3", "-c", script) == f"0 {errno.ECONNREFUSED}\n"


TAKES = (
    "import socket, sys\n"
    "with socket.socket(fileno=int(sys.argv[1])) as way: (fd,) = socket.recv_fds(way, 1, 1)[1]\n"
    "s = socket.socket(fileno=fd); s.sendall(b'hi'); print(s.recv(9).decode(), *s.getpeername(), *s.getsockname())"
)


def test_connection_that_is_passed_to_another_program_is_the_pods(stage: Stage) -> None:
    """By SCM_RIGHTS, to a program that was there before."""
    script = (
        "import socket, subprocess, sys\n"
        "way, theirs = socket.socketpair()\n"
        "words = [sys.executable, '-c', sys.argv[1], str(theirs.fileno())]\n"
        "with subprocess.Popen(words, pass_fds=[theirs.fileno()]) as taker:\n"
        f" with socket.create_connection(('{FAR}', {ECHO})) as s: socket.send_fds(way, [b'x'], [s.fileno()])\n"
        "sys.exit(taker.returncode)"
    )
    assert stage.output("python3", "-c", script, TAKES) == f"hi {FAR} {ECHO} 10.1.2.3 40000\n"


def _read_within(fd: int, seconds: float) -> bytes:
    import select

    if not select.select([fd], [], [], seconds)[0]:
        raise TimeoutError
    return os.read(fd, 1)
