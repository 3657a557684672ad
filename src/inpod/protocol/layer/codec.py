"""The messages of layer and session as bytes: the twin of native/wire. No I/O here."""

import struct

from inpod.protocol.layer.messages import (
    Addr,
    Answered,
    Bind,
    Buffer,
    Connect,
    File,
    Kind,
    LayerProtocolError,
    Listen,
    Name,
    Question,
    Redirect,
    Request,
    Resolve,
    Resolved,
    Trace,
    Unix,
    Want,
    Warn,
)

_U16 = struct.Struct("<H")
_ADDR = struct.Struct("<BBH16s")
_ERRNO = struct.Struct("<i")
_IP_BYTES = 16


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, form: str) -> int:
        size = struct.calcsize("<" + form)
        (value,) = struct.unpack_from("<" + form, self.data, self.at)
        self.at += size
        return int(value)

    def addr(self) -> Addr:
        family, _, port, ip = _ADDR.unpack_from(self.data, self.at)
        self.at += _ADDR.size
        if family not in (4, 6):
            raise LayerProtocolError("address family")
        return Addr(family, port, ip)

    def text(self) -> bytes:
        return self.bytes(self.take("I"))

    def bytes(self, size: int) -> bytes:
        value = self.data[self.at : self.at + size]
        if len(value) != size:
            raise LayerProtocolError("cut short")
        self.at += size
        return value


def encode_addr(addr: Addr) -> bytes:
    """Return the 20 bytes of an address."""
    return _ADDR.pack(addr.family, 0, addr.port, addr.ip)


def decode_addr(data: Buffer, at: int = 0) -> Addr | None:
    """Return the address at `at`, None where there is none (family 0)."""
    family, _, port, ip = _ADDR.unpack_from(data, at)
    return Addr(family, port, ip) if family in (4, 6) else None


def decode_request(data: bytes) -> Request:
    """Return the request in a datagram.

    Raises:
        LayerProtocolError: Unknown kind, or cut short.
    """
    read = _Reader(data)
    try:
        match read.take("H"):
            case Kind.CONNECT:
                cookie, to, flags = read.take("Q"), read.addr(), read.take("B")
                return Connect(cookie, to, bool(flags & 1), bool(flags & 2))
            case Kind.BIND:
                wanted, flags = read.addr(), read.take("B")
                return Bind(wanted, bool(flags & 1), bool(flags & 2))
            case Kind.LISTEN:
                wanted, real, flags = read.addr(), read.addr(), read.take("B")
                return Listen(wanted, real, bool(flags & 1), bool(flags & 2))
            case Kind.RESOLVE:
                return Resolve(read.take("B"), read.text().decode("utf-8", "surrogateescape"))
            case Kind.FILE:
                return File(Want(read.take("B")), read.text())
            case Kind.WARN:
                return Warn(read.text().decode(), read.text())
            case Kind.TRACE:
                return Trace(read.take("i"), read.take("i"), read.text())
            case Kind.NAME:
                return Name(read.bytes(_IP_BYTES))
            case Kind.UNIX:
                return Unix(read.text())
            case Kind.QUESTION:
                return Question(bool(read.take("B")), read.text())
            case kind:
                raise LayerProtocolError(f"unknown kind {kind}")
    except (struct.error, ValueError) as error:
        raise LayerProtocolError("cut short") from error


def encode_request(request: Request) -> bytes:
    """Return the datagram of a request: for tests, the layer's own encoder is native/wire."""
    match request:
        case Connect(cookie, to, is_undecided, is_send):
            return struct.pack("<HQ", Kind.CONNECT, cookie) + encode_addr(to) + bytes([is_undecided | is_send << 1])
        case Bind(wanted, reuse_port, is_udp):
            return _U16.pack(Kind.BIND) + encode_addr(wanted) + bytes([reuse_port | is_udp << 1])
        case Listen(wanted, real, is_local, is_udp):
            return _U16.pack(Kind.LISTEN) + encode_addr(wanted) + encode_addr(real) + bytes([is_local | is_udp << 1])
        case Resolve(family, name):
            return _U16.pack(Kind.RESOLVE) + bytes([family]) + _text(name.encode("utf-8", "surrogateescape"))
        case File(want, path):
            return _U16.pack(Kind.FILE) + bytes([want]) + _text(path)
        case Warn(why, path):
            return _U16.pack(Kind.WARN) + _text(why.encode()) + _text(path)
        case Trace(listener, errno, path):
            return struct.pack("<Hii", Kind.TRACE, listener, errno) + _text(path)
        case Name(ip):
            return _U16.pack(Kind.NAME) + ip
        case Unix(path):
            return _U16.pack(Kind.UNIX) + _text(path)
        case Question(searches, message):
            return _U16.pack(Kind.QUESTION) + bytes([searches]) + _text(message)


def encode_reply(errno: int, body: Redirect | Resolved | Answered | None = None) -> bytes:
    """Return the datagram of a reply."""
    head = _ERRNO.pack(errno)
    match body:
        case None:
            return head
        case Redirect(to):
            return head + encode_addr(to)
        case Answered(message):
            return head + message
        case Resolved(addresses, canonical):
            return head + bytes([min(len(addresses), 255)]) + b"".join(addresses[:255]) + _text(canonical.encode())


def _text(value: bytes) -> bytes:
    return struct.pack("<I", len(value)) + value
