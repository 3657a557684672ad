"""A client of HTTP/2 and its original, a copy of what the client says, and the program that gets it; all in memory."""

from collections.abc import Callable
from contextlib import suppress
from typing import cast

from h2.exceptions import StreamClosedError, StreamIDTooLowError
from h2.settings import SettingCodes

from inpod.agent.incoming.http.choice import Fate, Head, Taker
from inpod.agent.incoming.mirror.copy import Copy, Room
from inpod.agent.incoming.mirror.h2_copy import Http2Copy
from inpod.agent.incoming.mirror.h2_program import Program
from inpod.tunnel.stream import Sink, Stream
from tests.unit.agent.incoming.http.h2_peers import Fields, Message, Peer, Server, Values
from tests.unit.agent.incoming.http.h2_world import Later


class Session:
    """Who takes requests; a copy opens its streams itself."""

    def open(self) -> Stream:
        raise AssertionError


ONE = Session()


def choose(head: Head, body: bytes | None) -> Taker | Fate:
    """Match what has "one" in the header x-for, or in the body where that is "body"."""
    wanted = dict(head.headers).get(b"x-for", b"")
    if wanted == b"body":
        if body is None:
            return Fate.NEEDS_BODY
        wanted = body[:3]
    return ONE if wanted == b"one" else Fate.ORIGINAL


class Patient(Server):
    """A server whose request may have been taken back when it is about to answer."""

    def on_end(self, number: int) -> None:
        # So says the library of a stream that it knows to be closed, and of one that it has forgotten since.
        with suppress(StreamClosedError, StreamIDTooLowError):
            super().on_end(number)


class Link:
    """A stream to the program, as a `Copy` uses it.

    Attributes:
        said: What the program did not read yet.
        ended: "eof" or "reset" once the copy ended it.
    """

    def __init__(self, server: Server, *, is_refused: bool = False) -> None:
        self.server = server
        self.said = b""
        self.ended = "refused" if is_refused else ""
        self.closed = is_refused
        self.sink: Sink | None = None

    def set_sink(self, sink: Sink) -> None:
        self.sink = sink
        if self.closed:
            sink.reset()

    def send(self, data: bytes) -> bool:
        assert not self.ended
        self.said += data
        return True

    def passed_on(self, size: int) -> None:
        pass

    def write_eof(self) -> None:
        assert not self.ended
        self.ended = "eof"

    def refuse(self) -> None:
        if not self.closed:
            self.closed, self.ended = True, "reset"
            assert self.sink is not None
            self.sink.reset()


class Copied:
    """A copy and who is around it.

    Args:
        settings: SETTINGS of the program.
        original: SETTINGS of the original.
        cut: How many bytes come at a time; 0: all that there are.

    Attributes:
        links: Streams to the program, oldest first.
        refuses: The program does not listen.
        dropped: What was counted.
    """

    def __init__(
        self, settings: Values | None = None, *, original: Values | None = None, room: Room | None = None, cut: int = 0
    ) -> None:
        self.client = Peer(is_client=True)
        self.original = Server("original", original)
        for code, value in (original or {}).items():
            # The library would do so once they are acknowledged, which is too late for the next request.
            if code is SettingCodes.MAX_FRAME_SIZE:
                self.original.h2.max_inbound_frame_size = value
            elif code is SettingCodes.HEADER_TABLE_SIZE:
                self.original.h2.decoder.max_allowed_table_size = value
        self.room = room or Room()
        self.links: list[Link] = []
        self.refuses = False
        self.dropped = 0
        self.now = 1000.0
        self.timers: list[Later] = []
        self.on_server: Callable[[Server], None] = lambda server: None
        self._settings = settings
        self._cut = cut
        self.program = Program(self._open, self.room, self, self._count)
        self.copy = Http2Copy(choose, self.program, self)

    # The clock.

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None], /) -> Later:
        timer = Later(self.now + delay, callback)
        self.timers.append(timer)
        return timer

    # What tests do.

    def ask(self, path: bytes, *more: tuple[bytes, bytes], ends: bool = True) -> int:
        """Begin a request; return its stream."""
        number = self.client.h2.get_next_available_stream_id()
        fields: Fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"a"), *more]
        self.client.h2.send_headers(number, fields, end_stream=ends)
        return number

    def write(self, data: bytes) -> None:
        """Let the copy get bytes of the client."""
        step = self._cut or len(data) or 1
        for at in range(0, len(data), step):
            self.copy.write(data[at : at + step])
        self.copy.flush()

    def run(self) -> None:
        """Carry bytes until nobody has any."""
        while self.client_says() or self.program_reads():
            pass

    def client_says(self) -> bool:
        """Let the client say what it has to say, to the original and so to the copy; return whether there was anything."""
        said = self.client.h2.data_to_send()
        if said:
            self.original.receive(said)
            self.write(said)
        answer = self.original.h2.data_to_send()
        if answer:
            self.client.receive(answer)
        return bool(said or answer)

    def program_reads(self) -> bool:
        """Let the program read and answer; return whether there was anything."""
        moved = False
        for link in self.links:
            data, link.said = link.said, b""
            if data:
                link.server.receive(data)
            answer = b"" if link.closed else link.server.h2.data_to_send()
            if answer and link.sink is not None:
                link.sink.data(answer)
            moved = moved or bool(data or answer)
        return moved

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for timer in [timer for timer in self.timers if timer.at <= self.now and not timer.is_cancelled]:
            timer.is_cancelled = True
            timer.callback()

    def came(self) -> dict[bytes, Message]:
        """Return what came to the program, by path."""
        return {
            dict(message.fields)[b":path"]: message
            for link in self.links
            for message in link.server.got.values()
            if message.fields
        }

    def assert_quiet(self) -> None:
        """Nothing is left of what was asked."""
        assert self.program.streams == {}
        assert (self.room.used, self.program.held.size) == (0, 0)
        assert all(timer.is_cancelled for timer in self.timers)

    def _open(self) -> Copy:
        server = Patient("program", self._settings)
        self.on_server(server)
        link = Link(server, is_refused=self.refuses)
        if not self.refuses:
            self.links.append(link)
        return Copy(cast("Stream", link), self.room)

    def _count(self, lost: int) -> None:
        self.dropped += lost
