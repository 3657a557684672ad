import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inpod.dns import messages
from inpod.dns.messages import AAAA, CNAME, A, MessageError, Response

WEB = (b"web", b"default", b"svc")
POINTER_TO_QUESTION = b"\xc0\x0c"


def answer(
    records: list[tuple[bytes, int, bytes]], *, name: messages.Name = WEB, kind: int = A, flags: int = 0x8180
) -> bytes:
    query = messages.encode_query(7, name, kind)
    body = b"".join(n + struct.pack(">HHIH", k, 1, 60, len(d)) + d for n, k, d in records)
    return struct.pack(">HHHHHH", 7, flags, 1, len(records), 0, 0) + query[12:] + body


def wire(name: bytes) -> bytes:
    return b"".join(bytes([len(label)]) + label for label in name.split(b".")) + b"\0"


def test_query_has_the_bytes_of_the_rfc() -> None:
    query = messages.encode_query(0x1234, messages.parse_name(b"Ab.c."), AAAA)
    assert query == b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02ab\x01c\x00\x00\x1c\x00\x01"


@pytest.mark.parametrize("name", [b"", b".", b"a..b", b".a", b"a" * 64, b".".join([b"a" * 63] * 4) + b".b"])
def test_names_that_cannot_be_asked_are_refused(name: bytes) -> None:
    with pytest.raises(MessageError):
        messages.parse_name(name)


def test_addresses_come_in_the_order_of_the_answer() -> None:
    data = answer([(POINTER_TO_QUESTION, A, bytes([10, 0, 0, i])) for i in (3, 1, 2)])
    assert messages.follow(messages.decode_response(data)) == (WEB, ["10.0.0.3", "10.0.0.1", "10.0.0.2"])


def test_aliases_are_followed_in_whatever_order_they_come() -> None:
    records = [
        (wire(b"Third"), A, bytes([10, 0, 0, 9])),
        (wire(b"second"), CNAME, wire(b"third")),
        (POINTER_TO_QUESTION, CNAME, wire(b"second")),
        (wire(b"other"), A, bytes([10, 0, 0, 1])),
    ]
    assert messages.follow(messages.decode_response(answer(records))) == ((b"third",), ["10.0.0.9"])


def test_circle_of_aliases_ends() -> None:
    records = [(POINTER_TO_QUESTION, CNAME, wire(b"a")), (wire(b"a"), CNAME, wire(b"web.default.svc"))]
    assert messages.follow(messages.decode_response(answer(records)))[1] == []


def test_records_of_other_kinds_are_passed_over() -> None:
    records = [(POINTER_TO_QUESTION, 16, b"\x03abc"), (POINTER_TO_QUESTION, A, bytes([1, 2, 3, 4]))]
    assert messages.follow(messages.decode_response(answer(records)))[1] == ["1.2.3.4"]


def test_truncated_answer_needs_no_whole_records() -> None:
    data = answer([(POINTER_TO_QUESTION, A, bytes(4))], flags=0x8380)[:-3]
    response = messages.decode_response(data)
    assert response.is_truncated
    assert response.records == []


def test_pointer_to_itself_is_refused() -> None:
    itself = len(answer([]))
    data = answer([(struct.pack(">H", 0xC000 | itself), A, bytes(4))])
    with pytest.raises(MessageError):
        messages.decode_response(data)


def test_pointers_to_each_other_are_refused() -> None:
    first = len(answer([]))
    data = answer([(b"\x01a" + struct.pack(">H", 0xC000 | (first + 2)), A, bytes(4))])
    with pytest.raises(MessageError):
        messages.decode_response(data)


@pytest.mark.parametrize("name", [(b"a b",), (b"a.b",), (b"caf\xe9",), (b"\0",)])
def test_canonical_name_with_odd_bytes_is_not_told(name: messages.Name) -> None:
    assert messages.name_text(name) == ""


def decode_or_refuse(data: bytes) -> Response | None:
    """Only `MessageError` may come out of any bytes."""
    try:
        response = messages.decode_response(data)
    except MessageError:
        return None
    messages.follow(response)
    return response


@given(st.binary(max_size=600))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    decode_or_refuse(b"\0\7\x81\x80\0\1" + data)


WHOLE = answer([(POINTER_TO_QUESTION, CNAME, wire(b"other.svc")), (b"\x05other\xc0\x18", A, bytes([10, 0, 0, 1]))])


def test_answer_cut_anywhere_is_refused() -> None:
    assert messages.follow(messages.decode_response(WHOLE))[0] == (b"other", b"svc")
    for end in range(len(WHOLE)):
        with pytest.raises(MessageError):
            messages.decode_response(WHOLE[:end])


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_answer_changed_anywhere_is_decoded_or_refused(changes: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for at, value in changes:
        data[at] = value
    decode_or_refuse(bytes(data))
