"""Datagrams in a stream of bytes: each with its length before it, u16 big-endian. No I/O here."""

import struct

MAX_DATAGRAM = 65507
"""Most bytes that UDP carries over IPv4: 65535 less both headers."""

_LENGTH = struct.Struct(">H")


class DatagramError(Exception):
    """The peer announced a datagram over `MAX_DATAGRAM` bytes."""


def encode(datagram: bytes) -> bytes:
    """Return a datagram as it travels.

    Raises:
        ValueError: It has more than `MAX_DATAGRAM` bytes.
    """
    if len(datagram) > MAX_DATAGRAM:
        raise ValueError(f"a datagram of {len(datagram)} bytes")
    return _LENGTH.pack(len(datagram)) + datagram


class DatagramDecoder:
    """Turns bytes, cut anywhere, into datagrams. Holds less than one of them, however they come."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the datagrams that `data` completes, oldest first.

        Raises:
            DatagramError: One is too long; nothing after it can be read.
        """
        held = self._held
        held += data
        found: list[bytes] = []
        at, end = 0, len(held)
        while end - at >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(held, at)
            if size > MAX_DATAGRAM:
                raise DatagramError(f"a datagram of {size} bytes")
            after = at + _LENGTH.size + size
            if after > end:
                break
            found.append(bytes(held[at + _LENGTH.size : after]))
            at = after
        del held[:at]
        return found
