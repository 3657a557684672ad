"""The server of target pods in tests: answers every request as itself, and counts.

    pod_server.py PORT [PORT ...]    each port IPv4 and IPv6

GET /count says how many other requests were answered; anything else is answered "original HOSTNAME PATH PEER".
"""

import os
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

count = 0


class Handler(BaseHTTPRequestHandler):
    """Keeps connections alive, as real servers do."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        global count
        peer = self.client_address[0].removeprefix("::ffff:")
        if self.path == "/count":
            body = str(count)
        else:
            count += 1
            body = f"original {socket.gethostname()} {self.path} {peer}"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_POST(self) -> None:
        """Count the body's bytes."""
        size = int(self.headers["content-length"])
        while size > 0:
            size -= len(self.rfile.read(min(size, 65536)))
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


class Server(ThreadingHTTPServer):
    """IPv4 and IPv6 on one socket, many at once."""

    address_family = socket.AF_INET6
    request_queue_size = 512
    daemon_threads = True


if __name__ == "__main__":
    secret = "/tmp/pod-secret.txt"
    with open(os.open(secret, os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
        file.write("only for uid 1000\n")
    servers = [Server(("::", int(port)), Handler) for port in sys.argv[1:]]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()
