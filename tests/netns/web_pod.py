"""A pod with a web service for tests: run by unshare(1) in namespaces of its own, with an empty folder that becomes its root.

It says "ready" when it serves. Then each line on stdin is done and answered with a line of JSON:

    get PATH    a client in the pod's network asks its port 8080; "body" and "peer" are the answer
    count       "served": requests that this pod itself has answered; "orders": calls of its private service

It ends when stdin ends. Standard library only.
"""

import ctypes
import encodings.idna  # noqa: F401 # loaded while Python's own files are still there
import fcntl
import http.client
import json
import os
import socket
import struct
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ADDRESS = "10.77.0.2"
PORT = 8080
ORDERS_PORT = 9000

_SIOCSIFFLAGS, _SIOCSIFADDR = 0x8914, 0x8916
_IFF_UP_RUNNING = 0x41
_libc = ctypes.CDLL(None, use_errno=True)


def furnish(root: str) -> None:
    """Make the pod's network, name and files, and enter its root."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP_RUNNING))
        address = struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(ADDRESS))
        fcntl.ioctl(sock, _SIOCSIFADDR, struct.pack("16s16s", b"lo:pod", address))
    socket.sethostname(os.environ["POD_NAME"])
    if _libc.mount(b"tmpfs", os.fsencode(root), b"tmpfs", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")
    os.chroot(root)
    os.chdir("/")
    for folder in ("/etc", "/srv"):
        os.mkdir(folder)
    files = {
        "/etc/hosts": f"127.0.0.1 localhost\n{ADDRESS} {os.environ['POD_NAME']} orders\n",
        "/etc/resolv.conf": "nameserver 127.0.0.1\n",
        "/etc/hostname": os.environ["POD_NAME"] + "\n",
        "/srv/menu.txt": os.environ["POD_MENU"] + "\n",
    }
    for path, text in files.items():
        with open(path, "w") as file:
            file.write(text)


class Counter:
    """Counts requests of one server."""

    def __init__(self) -> None:
        self.served = 0


def serve(port: int, answer: str) -> Counter:
    """Answer every GET on `port` with `answer` and the path; from now on, in a thread."""
    counter = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            counter.served += 1
            body = f"{answer} {self.path}".encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the base class's name
            pass

    server = ThreadingHTTPServer((ADDRESS, port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return counter


def main() -> None:
    """Serve, and do as stdin says."""
    furnish(sys.argv[1])
    web = serve(PORT, f"the pod {os.environ['POD_NAME']} answers")
    orders = serve(ORDERS_PORT, os.environ["POD_ORDERS"])
    print("ready", flush=True)  # the protocol
    for line in sys.stdin:
        word, _, path = line.strip().partition(" ")
        if word == "get":
            connection = http.client.HTTPConnection(ADDRESS, PORT, timeout=10)
            connection.connect()
            peer = connection.sock.getsockname()
            connection.request("GET", path)
            reply: dict[str, object] = {
                "body": connection.getresponse().read().decode(),
                "peer": f"{peer[0]}:{peer[1]}",
            }
            connection.close()
        else:
            reply = {"served": web.served, "orders": orders.served}
        print(json.dumps(reply), flush=True)  # the protocol


if __name__ == "__main__":
    main()
