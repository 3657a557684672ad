"""The offer of HTTP/1.1 clients to go on in HTTP/2 (`Upgrade: h2c`), which is not passed on. No I/O here.

Whoever took it would have the rest of the connection, and with it requests that are for others. Whoever is in between may leave
it out (RFC 9110 section 7.8), nobody has to take it, and RFC 9113 dropped it: the client goes on in HTTP/1.1.
"""

_OFFER = b"h2c"
_OPTIONS = frozenset((b"upgrade", b"http2-settings"))


def without_offer(lines: list[bytes], protocols: tuple[bytes, ...]) -> tuple[list[bytes], bool] | None:
    """Return the lines of a head without the offer, and whether it offers other protocols; None when it makes no such offer.

    Args:
        lines: With the request line; all but those that make the offer stay as they are.
        protocols: The values of `Upgrade`.
    """
    offered = [protocol.lower() for value in protocols for protocol in _members(value)]
    if _OFFER not in offered:
        return None
    has_others = any(protocol != _OFFER for protocol in offered)
    dropped = {b"upgrade": frozenset((_OFFER,)), b"connection": _OPTIONS - {b"upgrade"} if has_others else _OPTIONS}
    kept: list[bytes] = []
    for line in lines:
        name, _, value = line.partition(b":")
        lower = name.lower()
        if lower in dropped:
            if members := [member for member in _members(value) if member.lower() not in dropped[lower]]:
                kept.append(name + b": " + b", ".join(members))
        elif lower != b"http2-settings":
            kept.append(line)
    return kept, has_others


def _members(value: bytes) -> list[bytes]:
    """Return the members of a list in a field (RFC 9110 section 5.6.1)."""
    return [member for part in value.split(b",") if (member := part.strip(b" \t"))]
