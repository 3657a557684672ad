"""The demo's "remote pod": run by unshare(1) in namespaces of its own, as a container runtime would run it.

Its web service listens on 8080, its private service "orders" on 9000; both can be reached from inside of its network only.
It says "ready" when it serves. Then each line on stdin is done and answered with a line of JSON:

    get PATH    a client at another address of the pod's network asks the web service; "body", and its own address as "client"
    facts       what the pod has itself: "environment" (POD_MENU), "file" (/srv/menu.txt), "hostname"
    seen        what came: "web" and "orders", each a list of [path, caller's address]

It ends when stdin ends. Standard library only; run with python -I, so nothing of inpod is imported.
"""

import ctypes
import encodings.idna  # noqa: F401 # names are looked up when the files of Python are out of reach
import fcntl
import http.client
import json
import os
import socket
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ADDRESS = "10.77.0.2"
CLIENT_ADDRESS = "10.77.0.9"
PORT = 8080
ORDERS_PORT = 9000
CALL_LIMIT_S = 10

MENU = Path("/srv/menu.txt")
HOSTS = f"127.0.0.1 localhost\n{ADDRESS} {{name}} orders\n"

_SIOCSIFFLAGS, _SIOCSIFADDR = 0x8914, 0x8916
_IFF_UP_RUNNING = 0x41
_PR_SET_DUMPABLE = 4
_libc = ctypes.CDLL(None, use_errno=True)


def main(user: int) -> None:
    """Serve as `user`, and do as stdin says."""
    name, menu = os.environ["POD_NAME"], os.environ["POD_MENU"]
    join_network()
    socket.sethostname(name)
    make_root({"etc/hosts": HOSTS.format(name=name), "etc/hostname": f"{name}\n", "srv/menu.txt": f"{menu}\n"}, user)
    become(user)
    seen = {
        "web": serve(PORT, f"the pod {name} answers"),
        "orders": serve(ORDERS_PORT, os.environ["POD_ORDERS"]),
    }
    print("ready", flush=True)  # noqa: T201 # the protocol
    for line in sys.stdin:
        match line.split():
            case ["get", path]:
                reply: dict[str, object] = get(path)
            case ["facts"]:
                text = MENU.read_text().strip()
                reply = {"environment": menu, "file": text, "hostname": socket.gethostname()}
            case _:
                reply = dict(seen)
        print(json.dumps(reply), flush=True)  # noqa: T201 # the protocol
    os._exit(0)


def join_network() -> None:
    """Give the loopback interface, the only one there is, two more addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP_RUNNING))
        for label, address in ((b"lo:pod", ADDRESS), (b"lo:client", CLIENT_ADDRESS)):
            packed = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))
            fcntl.ioctl(sock, _SIOCSIFADDR, struct.pack("16s16s", label, packed))


def make_root(files: dict[str, str], user: int) -> None:
    """Enter a root directory in memory that has only `files`, readable by `user` alone."""
    # The folder is one that is everywhere; in this mount namespace it is covered, elsewhere nothing is made.
    if _libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "cannot mount a tmpfs")
    os.chroot("/tmp")  # noqa: S108
    os.chdir("/")
    for path, text in files.items():
        file = Path("/", path)
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(0o600)
        os.chown(file, user, user)


def become(user: int) -> None:
    """Give root's rights up."""
    if user:
        os.setgid(user)
        os.setuid(user)
        # As after the exec by which container runtimes start a program: its /proc files belong to the user.
        _libc.prctl(_PR_SET_DUMPABLE, 1)


def serve(port: int, answer: str) -> list[tuple[str, str]]:
    """Answer every GET on `port` with `answer` and the path, in threads; return the list in which requests are noted."""
    seen: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.path, address_text(self.client_address)))
            body = f"{answer} {self.path}".encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer((ADDRESS, port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return seen


def get(path: str) -> dict[str, object]:
    """Ask the web service as a client at another address."""
    connection = http.client.HTTPConnection(ADDRESS, PORT, timeout=CALL_LIMIT_S, source_address=(CLIENT_ADDRESS, 0))
    try:
        connection.connect()
        client = address_text(connection.sock.getsockname())
        connection.request("GET", path)
        return {"body": connection.getresponse().read().decode(), "client": client}
    except OSError as error:
        return {"body": f"no answer: {error}", "client": ""}
    finally:
        connection.close()


def address_text(address: tuple[object, ...]) -> str:
    """Return address and port as people write them."""
    return f"{address[0]}:{address[1]}"


if __name__ == "__main__":
    main(int(sys.argv[1]))
