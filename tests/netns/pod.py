"""A small pod for tests, made of namespaces: run by `unshare` with a directory to become its root.

It has its own hosts, resolv.conf and files, a DNS server whose names misbehave as they say, TCP services, and routes
that fail in every way. Says "ready" on stdout, ends when stdin ends.
"""

import contextlib
import ctypes
import os
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

HOSTNAME = "web-0"
ECHO_PORT = 7000
RESET_PORT = 7001
BIG_BYTES = 5_000_000
PR_SET_DUMPABLE = 4

HOSTS = "127.0.0.1 localhost\n::1 localhost\n10.1.1.1 inhosts.example inhosts\nfd01::1 inhosts\n"
RESOLV_CONF = (
    "nameserver 127.0.0.1\nnameserver ::1\nsearch default.test svc.test\noptions ndots:2 timeout:1 attempts:1\n"
)

LINKS = """
link set lo up
link add v0 type veth peer name v1
link set v0 up
link set v1 up
addr add 10.77.0.1/24 dev v0
addr add fd77::1/64 dev v0 nodad
neigh add 10.77.0.9 lladdr 02:00:00:00:00:99 dev v0 nud permanent
route add unreachable 10.66.0.0/16
route add prohibit 10.65.0.0/16
route add unreachable fd66::/16
"""

A, CNAME, AAAA = 1, 5, 28
NAMES: dict[str, list[tuple[int, str]]] = {
    "web.default.test": [(A, "10.2.0.1"), (AAAA, "fd02::1")],
    "api.svc.test": [(A, "10.2.0.2")],
    "a.b.default.test": [(A, "10.2.0.5")],
    "a.b": [(A, "10.2.0.6")],
    "alias.test": [(CNAME, "alias2.test"), (CNAME, "web.default.test"), (A, "10.2.0.1")],
    "v6only.test": [(AAAA, "fd02::6")],
    "big.test": [(A, f"10.3.0.{i}") for i in range(100)],
    "long.test": [(A, f"10.3.0.{i}") for i in range(100)],
    "half.test": [(A, "10.2.0.7")],
    "spoof.test": [(A, "10.2.0.8")],
    "pod.test": [(A, "10.77.0.1"), (AAAA, "fd77::1"), (A, "10.64.0.1")],
}


def answer(query: bytes, *, is_udp: bool, is_first_server: bool) -> list[bytes]:
    """Return the datagrams that answer `query`, one record after the other owned by the alias before it."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length])
        at += length + 1
    name = b".".join(labels).decode("latin-1")
    kind = struct.unpack_from(">H", query, at + 1)[0]
    question = query[12 : at + 5]
    if name == "silent.test" or (name == "half.test" and is_first_server):
        return []
    code = 2 if name == "servfail.test" else 0 if name in NAMES else 3
    records, owner = [], name
    for record_kind, value in NAMES.get(name, []):
        if record_kind == CNAME:
            records.append((owner, CNAME, wire(value)))
            owner = value
        elif record_kind == kind:
            records.append((owner, kind, socket.inet_pton(socket.AF_INET if kind == A else socket.AF_INET6, value)))
    body = b"".join(wire(o) + struct.pack(">HHIH", k, 1, 5, len(d)) + d for o, k, d in records)
    flags = 0x8180 | code
    if is_udp and len(body) > 500:
        flags, body = flags | 0x0200, body[:300]
        if name == "long.test":
            records, body = [], b""
    whole = query[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + question + body
    if name != "spoof.test":
        return [whole]
    other_id = bytes([query[0] ^ 1]) + whole[1:]
    other_name = whole.replace(b"\x05spoof", b"\x05sp0of")
    return [b"", b"garbage", other_id, other_name, whole]


def wire(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def serve_dns(host: str, *, is_first_server: bool) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    udp = socket.socket(family, socket.SOCK_DGRAM)
    udp.bind((host, 53))
    tcp = socket.create_server((host, 53), family=family)

    def serve_udp() -> None:
        while True:
            query, peer = udp.recvfrom(600)
            for datagram in answer(query, is_udp=True, is_first_server=is_first_server):
                udp.sendto(datagram, peer)

    def serve_tcp() -> None:
        while True:
            sock, _ = tcp.accept()
            with sock, sock.makefile("rb") as file:
                query = file.read(int.from_bytes(file.read(2)))
                if not query:
                    continue
                for whole in answer(query, is_udp=False, is_first_server=is_first_server):
                    # In two pieces: a stream has no datagrams.
                    sock.sendall(len(whole).to_bytes(2) + whole[:1])
                    sock.sendall(whole[1:])

    for serve in (serve_udp, serve_tcp):
        threading.Thread(target=serve, daemon=True).start()


def serve_tcp_services() -> None:
    echo = socket.create_server(("::", ECHO_PORT), family=socket.AF_INET6, dualstack_ipv6=True)
    reset = socket.create_server(("::", RESET_PORT), family=socket.AF_INET6, dualstack_ipv6=True)

    def echo_one(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            while data := sock.recv(1 << 16):
                sock.sendall(data)

    def serve_echo() -> None:
        while True:
            threading.Thread(target=echo_one, args=[echo.accept()[0]], daemon=True).start()

    def serve_reset() -> None:
        while True:
            sock, _ = reset.accept()
            sock.recv(1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()

    for serve in (serve_echo, serve_reset):
        threading.Thread(target=serve, daemon=True).start()


def make_files(root: Path) -> None:
    for folder in ("etc", "srv/app", "proc", "dev"):
        (root / folder).mkdir(parents=True)
    (root / "etc/hosts").write_text(HOSTS)
    # As the container runtimes of Docker Desktop and others do, and as a trap for who reads outside of the root.
    (root / "run").mkdir()
    (root / "run/resolv.conf").write_text(RESOLV_CONF)
    (root / "etc/resolv.conf").symlink_to("/run/resolv.conf")
    (root / "srv/app/secret").write_text("only for the owner")
    (root / "srv/app/secret").chmod(0o600)
    (root / "srv/app/big").write_bytes(bytes(range(256)) * (BIG_BYTES // 256))
    (root / "srv/app/config").write_text("key: value\n")
    (root / "srv/current").symlink_to("/srv/app")
    (root / "srv/app/up").symlink_to("../../../../../../etc/hosts")
    (root / "srv/app/loop").symlink_to("loop")
    os.mkfifo(root / "srv/app/pipe")
    (root / "srv/mounted").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "inner", root / "srv/mounted"], check=True)
    (root / "srv/mounted/inner").write_text("on another mount")
    with contextlib.suppress(OSError):  # not in a user namespace
        os.mknod(root / "dev/null", 0o20666, os.makedev(1, 3))
    subprocess.run(["mount", "-t", "proc", "proc", root / "proc"], check=True)


def main(root: Path, user: int) -> None:
    socket.sethostname(HOSTNAME)
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "pod", root], check=True)
    subprocess.run(["ip", "-batch", "-"], input=LINKS, text=True, check=True)
    # Gives up after 3 s instead of 130.
    Path("/proc/sys/net/ipv4/tcp_syn_retries").write_text("1")
    make_files(root)
    if user:
        for path in (root / "srv/app").iterdir():
            os.chown(path, user, user, follow_symlinks=False)
    serve_dns("127.0.0.1", is_first_server=True)
    serve_dns("::1", is_first_server=False)
    serve_tcp_services()
    libc = ctypes.CDLL(None)
    os.chroot(root)
    os.chdir("/")
    if user:
        os.setgid(user)
        os.setuid(user)
        # As after the exec by which container runtimes start a program: its /proc files belong to the user.
        libc.prctl(PR_SET_DUMPABLE, 1)
    print("ready", flush=True)
    sys.stdin.read()
    # Not through the interpreter's end: its threads would need a library of the root that is gone.
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
