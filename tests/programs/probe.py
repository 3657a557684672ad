"""Probe, Python http.server: prints what a program sees of the pod. The lines are described in tests/matrix.py."""

import os
import socket
import subprocess
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def say(*words: object) -> None:
    """Print one line at once."""
    print(*words, flush=True)


class Handler(BaseHTTPRequestHandler):
    """Answers every request with the program's name."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Say who asked, then answer."""
        peer, local = self.client_address, self.connection.getsockname()
        say("request", self.path, peer[0], peer[1], local[0], local[1])
        body = b"program python"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/stop":
            say("bye")
            os._exit(7)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet: stdout belongs to the test."""


def main() -> None:
    """Look around, then serve."""
    say("env", os.environ.get("GREETING", ""))
    path = os.environ["PROBE_FILE"]
    with open(path) as file:
        say("file", file.read().strip())
    say("list", ",".join(sorted(os.listdir(os.path.dirname(path)))))
    os.chdir(os.path.dirname(path))
    say("cwd", os.getcwd(), os.path.getsize(os.path.basename(path)))
    say("child", subprocess.check_output(["cat", os.path.basename(path)], cwd=os.path.dirname(path), text=True).strip())
    say("host", socket.gethostname())
    with urllib.request.urlopen(os.environ["PROBE_URL"], timeout=20) as answer:
        say("call", answer.read().decode().strip())
    server = ThreadingHTTPServer(("0.0.0.0", int(os.environ["PROBE_PORT"])), Handler)
    address = server.socket.getsockname()
    say("listening", address[0], address[1])
    server.serve_forever()


if __name__ == "__main__":
    main()
