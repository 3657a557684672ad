"""Datagrams in a stream of bytes: each with its length before it, u16 big-endian. No I/O here.

So do messages of unix sockets, which may be longer: u32.
"""

import struct

MAX_DATAGRAM = 65507
"""Most bytes that UDP carries over IPv4: 65535 less both headers."""

MAX_MESSAGE = 1024 * 1024
"""Of a unix socket, in bytes: more than sockets of ordinary users can send (net.core.wmem_max is 208 KiB by default)."""

_LENGTH = struct.Struct(">H")
_MESSAGE_LENGTH = struct.Struct(">I")


class DatagramError(Exception):
    """The peer announced a datagram or message that is longer than may be."""


def encode(datagram: bytes) -> bytes:
    """Return a datagram as it travels.

    Raises:
        ValueError: It has more than `MAX_DATAGRAM` bytes.
    """
    if len(datagram) > MAX_DATAGRAM:
        raise ValueError(f"a datagram of {len(datagram)} bytes")
    return _LENGTH.pack(len(datagram)) + datagram


def encode_message(message: bytes) -> bytes:
    """Return a message as it travels.

    Raises:
        ValueError: It has more than `MAX_MESSAGE` bytes.
    """
    if len(message) > MAX_MESSAGE:
        raise ValueError(f"a message of {len(message)} bytes")
    return _MESSAGE_LENGTH.pack(len(message)) + message


class DatagramDecoder:
    """Turns bytes, cut anywhere, into datagrams. Holds less than one of them, however they come."""

    _length = _LENGTH
    _most = MAX_DATAGRAM

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
        while end - at >= self._length.size:
            (size,) = self._length.unpack_from(held, at)
            if size > self._most:
                raise DatagramError(f"a datagram of {size} bytes")
            after = at + self._length.size + size
            if after > end:
                break
            found.append(bytes(held[at + self._length.size : after]))
            at = after
        del held[:at]
        return found


class MessageDecoder(DatagramDecoder):
    """As `DatagramDecoder`, for messages."""

    _length = _MESSAGE_LENGTH
    _most = MAX_MESSAGE
