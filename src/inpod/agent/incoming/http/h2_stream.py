"""One request of an HTTP/2 connection and its answer. No I/O here.

How a stream goes:

    decided      its side is known, at once or once a filter saw the body; until then it has no `taker` and no `side`
    waiting      its side is being opened, or has as many requests as it takes
    sent         it has a number of its side; whatever comes now is passed on, or waits in `requests` or `answers` for room
    over         both ends said END_STREAM and it is passed on, or one of them or we said RST_STREAM
"""

from collections import deque
from typing import TYPE_CHECKING

from inpod.agent.incoming.http.choice import Head
from inpod.agent.incoming.http.h2_frames import DATA, FRAME_BYTES, WINDOW
from inpod.agent.incoming.http.h2_outside import Timer

if TYPE_CHECKING:
    from inpod.agent.incoming.http.h2_sending import Sending

Piece = tuple[int, int, bytes]
"""Kind, flags and payload of a frame that waits. DATA has no padding; the payload of RST_STREAM is as sent."""


SMALL = 1024
"""DATA shorter than this is kept together with what follows it: a place of its own would take more than it."""


class Stream:
    """A client's stream.

    Attributes:
        number: The client's.
        head: What is asked for, while a filter waits for the body.
        block: The same for the side: stateless; b"" once sent.
        body_left: Bytes of the body that are to come, if the request says so and somebody looks.
        limit: Set while a filter waits for the body.
        side: Where the request was sent.
        side_number: The stream there.
        requests: What waits to be passed to the side.
        waiting_size: Bytes of DATA in `requests`.
        side_room: Bytes that the side takes, by its window for this stream.
        client_room: Bytes that the client may send.
        credit: What the client takes beyond its initial window, and the side was not told yet.
        answers: What waits to be passed to the client.
        answers_size: Bytes of DATA in `answers`.
        request_ended: The client said END_STREAM.
        request_sent: The side was told so.
        answer_began: The side said HEADERS.
        answer_ended: The side said END_STREAM.
        answer_sent: The client was told so.
        is_over: Nobody is to hear of it any more.
    """

    __slots__ = (
        "answer_began", "answer_ended", "answer_sent", "answers", "answers_size", "block", "body_left", "client_room", "credit", "head",
        "is_over", "limit", "number", "request_ended", "request_sent", "requests", "side", "side_number", "side_room", "waiting_size",
    )  # fmt: skip

    def __init__(self, number: int, block: bytes) -> None:
        self.number = number
        self.head: Head | None = None
        self.block = block
        self.body_left: int | None = None
        self.limit: Timer | None = None
        self.side: Sending | None = None
        self.side_number = 0
        self.requests: deque[Piece] | None = None
        self.waiting_size = 0
        self.side_room = 0
        self.client_room = WINDOW
        self.credit = 0
        self.answers: deque[Piece] | None = None
        self.answers_size = 0
        self.request_ended = False
        self.request_sent = False
        self.answer_began = False
        self.answer_ended = False
        self.answer_sent = False
        self.is_over = False


def append(queue: deque[Piece], piece: Piece) -> None:
    """Let a piece wait behind others."""
    kind, flags, payload = piece
    if kind == DATA:
        if not payload and not flags:
            return  # empty ones could go on for ever
        if queue:
            last_kind, _, last = queue[-1]
            if last_kind == DATA and len(last) < SMALL and len(last) + len(payload) <= FRAME_BYTES:
                queue[-1] = (DATA, flags, last + payload)
                return
    queue.append(piece)
