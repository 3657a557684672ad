"""The nf_tables table that diverts connections, as netlink messages. No I/O here: see `nftables`.

What nft(8) would show:

    table inet inpod_… {
        flags owner
        set alive { type inet_proto; flags timeout; }           # tcp, for two seconds after each beat
        map ports4 { type inet_service : inet_service; }        # stolen port : our listener's port
        map ports6 { type inet_service : inet_service; }
        chain arriving {
            type nat hook prerouting priority -99;
            meta nfproto ipv4 meta l4proto @alive meta mark != 0x2d tcp flags syn / fin,syn,rst,ack
                fib daddr type local redirect to :tcp dport map @ports4
            …the same for ipv6…
        }
        chain looping { type nat hook output priority -99; …the same two rules… }
    }

- Only a SYN is diverted: connections that were there before the table are new to connection tracking, and their next
  segment would be taken for a beginning.
- The rules of a service mesh's sidecar stand at priority -100 and come first: traffic meant for the sidecar stays its
  own, and what it passes on to the application over loopback is diverted.
- The node's forwarded traffic is left alone: the address must be one of this network namespace.
"""

import socket
import struct
from collections.abc import Collection, Sequence

from inpod.agent.incoming.redirect.base import MARK
from inpod.agent.incoming.redirect.netlink import CREATE, EXCLUSIVE, Message, attribute, nested, number, text

PRIORITY = -99

NEW_TABLE, GET_TABLE, DELETE_TABLE, NEW_CHAIN, NEW_RULE, NEW_SET = 0, 1, 2, 3, 6, 9
NEW_ELEMENT, DELETE_ELEMENT = 12, 14

TABLE_NAME, TABLE_FLAGS, TABLE_OWNER = 1, 2, 7
OWNER = 0x2

_CHAINS = {"arriving": 0, "looping": 3}
"""Hook numbers: NF_INET_PRE_ROUTING, NF_INET_LOCAL_OUT."""

_PORTS: dict[int, str] = {socket.AF_INET: "ports4", socket.AF_INET6: "ports6"}
_ADDRESSES: dict[int, str] = {socket.AF_INET: "addresses4", socket.AF_INET6: "addresses6"}
_NFPROTO: dict[int, int] = {socket.AF_INET: 2, socket.AF_INET6: 10}
_DESTINATION: dict[int, tuple[int, int]] = {socket.AF_INET: (16, 4), socket.AF_INET6: (24, 16)}
"""Offset and length of the destination address in the IP header."""

# The types of nft(8), for those who look.
_IPV4, _IPV6, _PROTOCOL, _SERVICE = 7, 8, 12, 13

_MAP, _TIMEOUT = 0x8, 0x10
_REGISTER = 1
_EQUAL, _NOT_EQUAL = 0, 1
_META_MARK, _META_NFPROTO, _META_L4PROTO = 3, 15, 16
_NETWORK, _TRANSPORT = 1, 2
_FIB_DESTINATION, _FIB_TYPE, _LOCAL = 2, 3, 2
_FIN_SYN_RST_ACK, _SYN = b"\x17", b"\x02"
_TCP = bytes([socket.IPPROTO_TCP])


def create(table: str, addresses: Collection[bytes] | None = None) -> list[Message]:
    """Return what makes the table, diverting nothing.

    Args:
        addresses: The only destinations that are diverted, packed; None: all of this network namespace.
    """
    out = [Message(NEW_TABLE, CREATE | EXCLUSIVE, text(TABLE_NAME, table) + number(TABLE_FLAGS, OWNER))]
    out.append(_new_set(table, "alive", 1, _TIMEOUT, _PROTOCOL, 1))
    for at, (family, name) in enumerate(_PORTS.items()):
        out.append(_new_set(table, name, 2 + at, _MAP, _SERVICE, 2, number(6, _SERVICE) + number(7, 2)))
        if addresses is not None:
            length = _DESTINATION[family][1]
            kind = _IPV4 if family == socket.AF_INET else _IPV6
            out.append(_new_set(table, _ADDRESSES[family], 4 + at, 0, kind, length))
            keys = [_element(address) for address in addresses if len(address) == length]
            if keys:
                out.append(_elements(NEW_ELEMENT, table, _ADDRESSES[family], keys))
    for chain, hook in _CHAINS.items():
        where = nested(4, number(1, hook), number(2, PRIORITY))
        body = text(1, table) + text(3, chain) + where + text(7, "nat")
        out.append(Message(NEW_CHAIN, CREATE, body))
        out += [_rule(table, chain, family, addresses is not None) for family in _PORTS]
    return out


def beat(table: str, milliseconds: int) -> list[Message]:
    """Return what diverts for so long from now.

    The element is made anew: before Linux 6.12 an element's time cannot be changed. Both happen in one transaction, so
    that no packet finds it missing.
    """
    timeout = attribute(4, struct.pack(">Q", milliseconds))
    return [*rest(table), _elements(NEW_ELEMENT, table, "alive", [_element(_TCP, timeout)])]


def rest(table: str) -> list[Message]:
    """Return what diverts nothing until the next beat."""
    return [_elements(DELETE_ELEMENT, table, "alive", [])]


def divert(table: str, family: int, port: int, listener: int) -> Message:
    """Return what sends a port's connections to our listener's port."""
    to = nested(2, attribute(1, struct.pack(">H", listener)))
    return _elements(NEW_ELEMENT, table, _PORTS[family], [_element(struct.pack(">H", port), to)])


def leave(table: str, family: int, port: int) -> Message:
    """Return what undoes `divert`."""
    return _elements(DELETE_ELEMENT, table, _PORTS[family], [_element(struct.pack(">H", port))])


def empty(table: str) -> list[Message]:
    """Return what leaves nothing to divert. The rules stay, for the sake of diverted connections that live on.

    The kernel translates their addresses as long as it has the chains *and* tracks connections at all, which it does while
    there is a rule that redirects (nft_redir_init takes nf_ct_netns_get; the last one's end is told some milliseconds late).
    """
    return [*rest(table), *(_elements(DELETE_ELEMENT, table, name, []) for name in _PORTS.values())]


def look(table: str) -> Message:
    """Return the question for the table itself."""
    return Message(GET_TABLE, 0, text(TABLE_NAME, table))


def delete(table: str) -> list[Message]:
    """Return what removes the table."""
    return [Message(DELETE_TABLE, 0, text(TABLE_NAME, table))]


def _new_set(table: str, name: str, number_of: int, flags: int, key: int, key_bytes: int, data: bytes = b"") -> Message:
    body = text(1, table) + text(2, name) + number(3, flags) + number(4, key) + number(5, key_bytes)
    return Message(NEW_SET, CREATE, body + data + number(10, number_of))


def _elements(kind: int, table: str, name: str, elements: Sequence[bytes]) -> Message:
    """Return a change of elements; deleting none of them in particular deletes all."""
    body = text(1, table) + text(2, name)
    if elements:
        body += nested(3, *elements)
    return Message(kind, CREATE if kind == NEW_ELEMENT else 0, body)


def _element(key: bytes, more: bytes = b"") -> bytes:
    return nested(1, nested(1, attribute(1, key)) + more)


def _rule(table: str, chain: str, family: int, by_address: bool) -> Message:
    expressions = [
        _expression("meta", number(1, _REGISTER), number(2, _META_NFPROTO)),
        _compare(_EQUAL, bytes([_NFPROTO[family]])),
        _expression("meta", number(1, _REGISTER), number(2, _META_L4PROTO)),
        _expression("lookup", text(1, "alive"), number(2, _REGISTER)),
        _expression("meta", number(1, _REGISTER), number(2, _META_MARK)),
        _compare(_NOT_EQUAL, struct.pack("=I", MARK)),
        _payload(_TRANSPORT, 13, 1),
        _mask(_FIN_SYN_RST_ACK),
        _compare(_EQUAL, _SYN),
        _expression("fib", number(1, _REGISTER), number(2, _FIB_TYPE), number(3, _FIB_DESTINATION)),
        _compare(_EQUAL, struct.pack("=I", _LOCAL)),
    ]
    if by_address:
        expressions.append(_payload(_NETWORK, *_DESTINATION[family]))
        expressions.append(_expression("lookup", text(1, _ADDRESSES[family]), number(2, _REGISTER)))
    expressions += [
        _payload(_TRANSPORT, 2, 2),
        _expression("lookup", text(1, _PORTS[family]), number(2, _REGISTER), number(3, _REGISTER)),
        _expression("redir", number(1, _REGISTER)),
    ]
    body = text(1, table) + text(2, chain) + nested(4, *expressions)
    return Message(NEW_RULE, CREATE | 0x800, body)  # NLM_F_APPEND


def _expression(name: str, *attributes: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *attributes))


def _compare(how: int, value: bytes) -> bytes:
    return _expression("cmp", number(1, _REGISTER), number(2, how), nested(3, attribute(1, value)))


def _payload(base: int, offset: int, length: int) -> bytes:
    return _expression("payload", number(1, _REGISTER), number(2, base), number(3, offset), number(4, length))


def _mask(mask: bytes) -> bytes:
    nothing = attribute(1, bytes(len(mask)))
    parts = (number(1, _REGISTER), number(2, _REGISTER), number(3, len(mask)))
    return _expression("bitwise", *parts, nested(4, attribute(1, mask)), nested(5, nothing))
