"""Messages of session and agent that no session or agent would send."""

import pytest

from inpod.protocol.agent import Hello, PeerProtocolError, PortReport, decode_answer, decode_request, encode


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"{", b"[]", b"{}", b'{"is":"Nothing"}', b'{"is":"Hello"}', b"[" * 100_000]
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(PeerProtocolError):
        decode_request(data)
    with pytest.raises(PeerProtocolError):
        decode_answer(PortReport, data)


def test_message_is_read_as_it_was_sent() -> None:
    assert decode_request(encode(Hello(1, addresses=["10.0.0.1"]))) == Hello(
        1, ["mirror", "steal"], "auto", ["10.0.0.1"]
    )
