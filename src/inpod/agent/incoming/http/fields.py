"""Header fields of HTTP/1, read strictly (RFC 9112 sections 5 and 6), and what they say about the body. No I/O here."""

MAX_FIELDS = 100
"""Most header fields of a head, and most trailer fields of a body."""

CHUNKED = -1
"""As a length: the body is in chunks."""

UNTIL_CLOSE = -2
"""As a length: the body ends with the connection."""

TEXT = bytes([9, *range(32, 127), *range(128, 256)])
"""What a line may consist of (RFC 9110 section 5.5): for `translate`, which removes these and leaves what is wrong."""

TOKEN = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""What names and methods consist of; for `translate`, too."""

_MAX_LENGTH_DIGITS = 18

_PLAIN, _LENGTH, _CODING, _CONNECTION, _EXPECT, _UPGRADE, _HOST = range(7)
_SPECIAL = {
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"connection": _CONNECTION,
    b"expect": _EXPECT,
    b"upgrade": _UPGRADE,
    b"host": _HOST,
}

_MAX_KNOWN_NAMES = 1024
_MAX_KNOWN_NAME = 64
_known_names: dict[bytes, int] = {}
"""Field names that were checked: there are few, so each is looked at once."""

_MAX_KNOWN_LINES = 1024
_MAX_KNOWN_LINE = 256
_known_lines: dict[bytes, tuple[int, tuple[bytes, bytes]]] = {}
"""Lines that were read: most fields of a client are the same in each of its requests."""


class NotHttp(Exception):
    """Bytes that are no HTTP/1, or that two readers may understand in two ways. The text says why."""


class Fields:
    """The header fields of a head and what they say about its body."""

    lengths: tuple[bytes, ...] = ()
    codings: tuple[bytes, ...] = ()
    connection: tuple[bytes, ...] = ()
    upgrade: tuple[bytes, ...] = ()
    hosts = 0
    expects_continue = False

    def __init__(self, lines: list[bytes]) -> None:
        known = _known_lines
        read = [known.get(line) or _read_line(line) for line in lines]
        self.fields = tuple([field for _, field in read])
        for kind, (_, value) in read:
            if kind:
                self._note(kind, value)

    def length(self, default: int) -> int:
        if self.codings:
            if self.lengths:
                raise NotHttp("it has both Transfer-Encoding and Content-Length")
            if len(self.codings) > 1 or self.codings[0].lower() != b"chunked":
                raise NotHttp("its Transfer-Encoding is not just chunked")
            return CHUNKED
        if not self.lengths:
            return default
        value = self.lengths[0]
        if len(self.lengths) > 1 or not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS:
            raise NotHttp("its Content-Length is not one number")
        if value[:1] == b"0" and len(value) > 1:
            raise NotHttp("its Content-Length begins with zero")
        return int(value)

    def keeps_alive(self, version: bytes) -> bool:
        if not self.connection:
            return version == b"HTTP/1.1"
        options = {option.strip(b" \t").lower() for option in b",".join(self.connection).split(b",")}
        return b"close" not in options and (version == b"HTTP/1.1" or b"keep-alive" in options)

    def _note(self, kind: int, value: bytes) -> None:
        if kind == _LENGTH:
            self.lengths += (value,)
        elif kind == _CODING:
            self.codings += (value,)
        elif kind == _CONNECTION:
            self.connection += (value,)
        elif kind == _HOST:
            self.hosts += 1
        elif kind == _UPGRADE:
            self.upgrade += (value,)
        elif kind == _EXPECT:
            self.expects_continue = value.lower() == b"100-continue"


def check_trailer(line: bytes) -> None:
    """Check a line of a trailer section.

    Raises:
        NotHttp: It is no field, or one that a reader may take for the body's length.
    """
    name, colon, value = line.partition(b":")
    if not colon or value.translate(None, TEXT) or _kind(name) in (_LENGTH, _CODING):
        raise NotHttp("a trailer is not correct")


def _read_line(line: bytes) -> tuple[int, tuple[bytes, bytes]]:
    """Return the kind, the name and the value of a field."""
    name, colon, value = line.partition(b":")
    if not colon:
        raise NotHttp("a line of its head has no colon")
    read = _kind(name), (name, value.strip(b" \t"))
    if len(line) <= _MAX_KNOWN_LINE:
        if len(_known_lines) >= _MAX_KNOWN_LINES:
            _known_lines.clear()
        _known_lines[line] = read
    return read


def _kind(name: bytes) -> int:
    kind = _known_names.get(name)
    if kind is None:
        if not name or name.translate(None, TOKEN):
            raise NotHttp("a header field has no correct name")
        lower = name.lower()
        kind = _SPECIAL.get(lower, _PLAIN)
        # Gateway interfaces make the same variable of both characters.
        if kind == _PLAIN and b"_" in name and _SPECIAL.get(lower.replace(b"_", b"-")) in (_LENGTH, _CODING):
            raise NotHttp("a header field looks like the body's length")
        if len(name) <= _MAX_KNOWN_NAME and len(_known_names) < _MAX_KNOWN_NAMES:
            _known_names[name] = kind
    return kind
