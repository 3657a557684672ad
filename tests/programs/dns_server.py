"""A name server of UDP only, for whoever speaks DNS himself: A is the caller's own address, TXT as long as its name says.

    python dns_server.py IP PORT

"1000.test" has a TXT record of that many letters. Says "ready"; ends when its input ends.
"""

import socket
import struct
import sys
import threading

A, TXT = 1, 16


def answer(query: bytes, sender: str) -> bytes:
    """Return the answer: one record, of the question's name and type."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length])
        at += length + 1
    (kind,) = struct.unpack_from(">H", query, at + 1)
    if kind == TXT:
        text = b"t" * int(labels[0])
        pieces = [text[start : start + 255] for start in range(0, len(text), 255)]
        value = b"".join(bytes([len(piece)]) + piece for piece in pieces)
    else:
        value = socket.inet_pton(socket.AF_INET6 if ":" in sender else socket.AF_INET, sender)
    head = query[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0)
    return head + query[12 : at + 5] + b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 5, len(value)) + value


def serve(sock: socket.socket) -> None:
    while True:
        query, sender = sock.recvfrom(512)
        sock.sendto(answer(query, sender[0]), sender)


if __name__ == "__main__":
    ip, port = sys.argv[1:]
    sock = socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((ip, int(port)))
    threading.Thread(target=serve, args=[sock], daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
