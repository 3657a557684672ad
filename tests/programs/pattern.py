"""Sends and checks a pattern in which every lost, doubled or moved byte shows.

    pattern.py serve HOST PORT [slow]               serves until ended; prints a line for each connection
    pattern.py down|up HOST PORT BYTES [slow]       a client: takes or gives so many bytes; prints "ok BYTES"

The client's first line says what it wants. `slow` reads and writes in small steps with pauses: the pace is what is tested.
"""

import socket
import sys
import threading
import time

BLOCK = b"".join(i.to_bytes(4, "big") for i in range(65536))
STEP, PAUSE_S = 64 * 1024, 0.001


def piece(at: int, size: int) -> bytes:
    """Return bytes `at` to `at + size` of the endless pattern: block n begins with n."""
    out = bytearray()
    while len(out) < size:
        number, offset = divmod(at + len(out), len(BLOCK))
        block = number.to_bytes(4, "big") + BLOCK[4:]
        out += block[offset : offset + size - len(out)]
    return bytes(out)


def give(sock: socket.socket, size: int, *, slow: bool) -> None:
    """Send the pattern's first `size` bytes."""
    at, step = 0, STEP if slow else 1 << 20
    while at < size:
        part = piece(at, min(step, size - at))
        sock.sendall(part)
        at += len(part)
        if slow:
            time.sleep(PAUSE_S)


def take(sock: socket.socket, size: int, *, slow: bool) -> str:
    """Receive up to the end and compare; return "ok BYTES" or what is wrong."""
    at = 0
    while data := sock.recv(STEP if slow else 1 << 20):
        if data != piece(at, len(data)):
            return f"different after {at}"
        at += len(data)
        if slow:
            time.sleep(PAUSE_S)
    return f"ok {at}" if at == size else f"{at} instead of {size}"


def serve_one(sock: socket.socket, *, slow: bool) -> None:
    """Do what the client's line says."""
    line = b""
    while not line.endswith(b"\n"):
        if not (byte := sock.recv(1)):
            return
        line += byte
    word, size = line.decode().split()
    if word == "down":
        give(sock, int(size), slow=slow)
        print("served", flush=True)
    else:
        found = take(sock, int(size), slow=slow)
        print(found, flush=True)
        sock.sendall(found.encode())
    sock.close()


def main() -> None:
    """Run as asked."""
    word, host, port, *rest = sys.argv[1:]
    slow = "slow" in rest
    if word == "serve":
        listener = socket.create_server((host, int(port)))
        print("listening", flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve_one, args=(sock,), kwargs={"slow": slow}, daemon=True).start()
    size = int(rest[0])
    with socket.create_connection((host, int(port)), timeout=60) as sock:
        sock.sendall(f"{word} {size}\n".encode())
        if word == "down":
            print(take(sock, size, slow=slow), flush=True)
        else:
            give(sock, size, slow=slow)
            sock.shutdown(socket.SHUT_WR)
            print(sock.recv(100).decode(), flush=True)


if __name__ == "__main__":
    main()
