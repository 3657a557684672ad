"""The messages of session and agent as JSON. No I/O here."""

import errno
import json
from typing import TypeVar, get_args

from inpod.protocol.agent.messages import Address, Answer, Refusal, Request
from inpod.protocol.listing import PeerProtocolError

A = TypeVar("A")

_dump = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

_NAMES: dict[str, type[Request]] = {t.__name__: t for t in get_args(Request)}


def encode(message: Request | Answer) -> bytes:
    """Return `message` as JSON with its type's name under "is"; addresses are lists."""
    return _dump({"is": type(message).__name__, **message._asdict()}).encode()


def decode_request(data: bytes) -> Request:
    """Return the request in the payload of OPEN.

    Raises:
        PeerProtocolError: Not JSON, an unknown request, or wrong fields.
    """
    raw = _object(data)
    found = _NAMES.get(str(raw.pop("is", "")))
    if found is None:
        raise PeerProtocolError("unknown request")
    return _build(found, raw)


def decode_answer(kind: type[A], data: bytes) -> A:
    """Return the `kind` in the payload of ACCEPT, RESET or in a line of data.

    Raises:
        PeerProtocolError: Not JSON, another message, or wrong fields.
    """
    raw = _object(data)
    if raw.pop("is", "") != kind.__name__:
        raise PeerProtocolError(f"expected {kind.__name__}")
    return _build(kind, raw)


def errno_of(payload: bytes, otherwise: int) -> int:
    """Return the errno in the payload of RESET; `otherwise` where there is none, as when the link is lost."""
    if not payload:
        return otherwise
    try:
        return decode_answer(Refusal, payload).code or errno.ECONNREFUSED
    except PeerProtocolError:
        return otherwise


def _object(data: bytes) -> dict[str, object]:
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise PeerProtocolError("not JSON, or nested too deeply") from error
    if not isinstance(raw, dict):
        raise PeerProtocolError("not a JSON object")
    return raw


def _build(kind: type[A], raw: dict[str, object]) -> A:
    try:
        for name in ("to", "local", "peer"):
            if isinstance(value := raw.get(name), list):
                raw[name] = Address(*value)
        return kind(**raw)
    except TypeError as error:
        raise PeerProtocolError(f"bad {kind.__name__}") from error
