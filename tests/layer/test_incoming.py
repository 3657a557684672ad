"""How programs listen, and who calls them."""

import errno
import os
import shutil
import socket
import subprocess

import pytest

from inpod.protocol.layer import Addr, Bind, Listen
from tests.fakes.session import DEADLINE_S
from tests.layer.conftest import Stage, is_root
from tests.ports import free_port

SERVER = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
s = socket.socket(family)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if family == socket.AF_INET6:
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(sys.argv[3]))
s.bind((sys.argv[1], int(sys.argv[2])))
s.listen()
print(*s.getsockname()[:2], flush=True)
a, peer = s.accept()
print(*peer[:2], *a.getpeername()[:2], *a.getsockname()[:2], flush=True)
a.sendall(a.recv(99).upper())
"""

pytestmark = pytest.mark.parametrize("interceptor", ["layer", "tracer"])


def serve(stage: Stage, host: str, port: int, *more: str, prefix: tuple[str, ...] = ()) -> "subprocess.Popen[str]":
    """Start a server for one connection, and check the name that its socket tells."""
    process = stage.start(*prefix, "python3", "-c", SERVER, host, str(port), *more)
    assert process.stdout is not None
    first = process.stdout.readline()
    if first != f"{host} {port}\n":
        pytest.fail(f"{first!r} {process.communicate(timeout=DEADLINE_S)}")
    return process


def finish(process: "subprocess.Popen[str]", sock: socket.socket) -> str:
    """Send and receive, and return what the server said of the connection."""
    with sock:
        sock.sendall(b"hello")
        assert sock.recv(99) == b"HELLO"
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    return out


def test_call_of_the_pod_shows_its_real_client(stage: Stage) -> None:
    port = free_port()
    process = serve(stage, "0.0.0.0", port)
    sock = stage.session.call(port, peer=Addr.of("10.7.7.7", 1234))
    assert finish(process, sock) == f"10.7.7.7 1234 10.7.7.7 1234 10.1.2.3 {port}\n"
    (listen,) = stage.session.asked(Listen)
    assert (str(listen.wanted), str(listen.real)) == (f"0.0.0.0:{port}", f"127.0.0.1:{port}")
    assert not listen.is_local


def test_developers_own_call_shows_itself(stage: Stage) -> None:
    port = free_port()
    process = serve(stage, "0.0.0.0", port)
    sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
    own = sock.getsockname()[1]
    assert finish(process, sock) == f"127.0.0.1 {own} 127.0.0.1 {own} 127.0.0.1 {port}\n"


@pytest.mark.parametrize("is_v6_only", [False, True])
def test_ipv6_listener(stage: Stage, is_v6_only: bool) -> None:
    port = free_port()
    process = serve(stage, "::", port, str(int(is_v6_only)))
    sock = stage.session.call(port, peer=Addr.of("fd00::77", 1234), local=Addr.of("fd00::1", port))
    assert finish(process, sock) == f"fd00::77 1234 fd00::77 1234 fd00::1 {port}\n"
    (listen,) = stage.session.asked(Listen)
    assert listen.real.host == ("::1" if is_v6_only else "127.0.0.1")


def test_ipv4_client_of_an_ipv6_listener(stage: Stage) -> None:
    port = free_port()
    process = serve(stage, "::", port, "0")
    sock = stage.session.call(port, peer=Addr.of("10.7.7.7", 1234, 6))
    out = finish(process, sock)
    assert out.startswith("::ffff:10.7.7.7 1234 ::ffff:10.7.7.7 1234 ::ffff:10.1.2.3")


def test_address_of_the_pod_can_be_bound(stage: Stage) -> None:
    port = free_port()
    process = serve(stage, "10.1.2.3", port)
    out = finish(process, stage.session.call(port, peer=Addr.of("10.7.7.7", 9)))
    assert out.startswith("10.7.7.7 9")


def test_port_that_is_taken_here_is_replaced(stage: Stage) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = serve(stage, "0.0.0.0", port)
        out = finish(process, stage.session.call(port, peer=Addr.of("10.7.7.7", 9)))
        assert out.endswith(f"10.1.2.3 {port}\n")
        assert str(stage.session.asked(Bind)[0].wanted) == f"0.0.0.0:{port}"
        assert stage.session.asked(Listen)[0].real.port != port


def test_port_that_the_program_has_already_is_taken(stage: Stage) -> None:
    script = (
        "import socket\n"
        "s = socket.create_server(('0.0.0.0', 8123)); t = socket.socket()\n"
        "try: t.bind(('0.0.0.0', 8123))\n"
        "except OSError as error: print(error.errno)"
    )
    assert stage.output("python3", "-c", script) == f"{errno.EADDRINUSE}\n"


@pytest.mark.skipif(not is_root(), reason="gives files to another user")
def test_privileged_port_needs_no_rights(stage: Stage) -> None:
    # The session as a whole is that of the other user.
    for path in [stage.session.folder, *stage.session.folder.rglob("*")]:
        os.chown(path, 65534, 65534, follow_symlinks=False)
    process = serve(stage, "0.0.0.0", 80, prefix=_as_nobody())
    out = finish(process, stage.session.call(80, peer=Addr.of("10.7.7.7", 9)))
    assert out == "10.7.7.7 9 10.7.7.7 9 10.1.2.3 80\n"


def test_port_of_no_choice_is_local(stage: Stage) -> None:
    script = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1])"
    port = int(stage.output("python3", "-c", script))
    (listen,) = stage.session.asked(Listen)
    assert listen == Listen(Addr.of("127.0.0.1", port), Addr.of("127.0.0.1", port), is_local=True)


@pytest.mark.parametrize(("host", "port_is_chosen"), [("10.1.2.3", False), ("fd01::3", False), ("10.1.2.3", True)])
def test_listener_at_an_address_of_the_pod_is_local_where_its_port_is_not_the_pods(
    stage: Stage, host: str, port_is_chosen: bool
) -> None:
    """A port of no choice, or one that is to be ignored."""
    port = free_port() if port_is_chosen else 0
    stage.session.add_rule(f"local-port\t{port}")
    script = (
        "import socket, sys\n"
        "family = socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET\n"
        "s = socket.create_server((sys.argv[1], int(sys.argv[2])), family=family); print(*s.getsockname()[:2], flush=True)\n"
        "s.accept()[0].sendall(b'hello')"
    )
    process = stage.start("python3", "-c", script, host, str(port))
    assert process.stdout is not None
    told, told_port = process.stdout.readline().split()
    (listen,) = stage.session.wait_for(Listen)
    assert (told, int(told_port), listen.is_local) == (host, listen.real.port, True)
    with socket.create_connection((listen.real.host, listen.real.port), timeout=DEADLINE_S) as sock:
        assert sock.recv(99) == b"hello"
    process.communicate(timeout=DEADLINE_S)


def test_listener_is_inherited_by_a_child(stage: Stage) -> None:
    port = free_port()
    script = (
        "import socket,os,sys\n"
        f"s = socket.create_server(('0.0.0.0', {port})); s.set_inheritable(True)\n"
        "code = 'import socket,sys; s = socket.socket(fileno=int(sys.argv[1])); a, p = s.accept();'"
        " 'print(*p, *s.getsockname(), flush=True); a.sendall(a.recv(99).upper())'\n"
        "os.execv(sys.executable, ['python3', '-c', code, str(s.fileno())])"
    )
    process = stage.start("python3", "-c", script)
    out = finish(process, stage.session.call(port, peer=Addr.of("10.7.7.7", 9)))
    assert out == f"10.7.7.7 9 0.0.0.0 {port}\n"


TAKES = (
    "import socket, sys\n"
    "with socket.socket(fileno=int(sys.argv[1])) as way: (fd,) = socket.recv_fds(way, 1, 1)[1]\n"
    "a, p = socket.socket(fileno=fd).accept()\n"
    "print(*p, *a.getpeername(), *a.getsockname(), flush=True); a.sendall(a.recv(99).upper())"
)


def test_listener_is_passed_to_another_program(stage: Stage) -> None:
    """By SCM_RIGHTS, to a program that was there before."""
    port = free_port()
    script = (
        "import socket, subprocess, sys\n"
        "way, theirs = socket.socketpair()\n"
        "words = [sys.executable, '-c', sys.argv[1], str(theirs.fileno())]\n"
        "with subprocess.Popen(words, pass_fds=[theirs.fileno()]) as taker:\n"
        f" with socket.create_server(('0.0.0.0', {port})) as s: socket.send_fds(way, [b'x'], [s.fileno()])\n"
        "sys.exit(taker.returncode)"
    )
    process = stage.start("python3", "-c", script, TAKES)
    out = finish(process, stage.session.call(port, peer=Addr.of("10.7.7.7", 9)))
    assert out == f"10.7.7.7 9 10.7.7.7 9 10.1.2.3 {port}\n"


def test_waiting_accept_can_be_cancelled_and_interrupted(stage: Stage) -> None:
    out = stage.output("cancel_waiting", "accept", str(free_port()))
    assert out == "cancelled 1 cleaned 1 said nothing\ninterrupted EINTR\n"


def test_incoming_off_leaves_listeners_alone(stage: Stage) -> None:
    stage.session.add_rule("incoming\toff")
    port = free_port()
    process = serve(stage, "0.0.0.0", port)
    sock = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE_S)
    finish(process, sock)
    (listen,) = stage.session.asked(Listen)
    assert listen.is_local


def _as_nobody() -> tuple[str, ...]:
    setpriv = shutil.which("setpriv")
    assert setpriv is not None
    return (setpriv, "--reuid", "65534", "--regid", "65534", "--clear-groups")
