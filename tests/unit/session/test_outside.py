"""What is said of programs outside the pod."""

from inpod.protocol.layer import Warn, encode_reply
from inpod.session.events import Event, Events, Note
from inpod.session.outside import Outside


def test_each_program_is_told_once() -> None:
    events = Events()
    told: list[Event] = []
    events.listen(told.append)
    outside = Outside(events)
    for request in (
        Warn("static", b"/a"),
        Warn("closed", b"agent"),
        Warn("static", b"/a"),
        Warn("unreadable", b"/b"),
        Warn("user", b"/c"),
    ):
        assert outside.warn(request) == encode_reply(0)
    texts = [event.text for event in told if isinstance(event, Note)]
    assert texts == [
        "/a runs outside the pod: the layer cannot reach a static program.",
        "agent runs outside the pod: the kernel lets nobody look into it (not dumpable, or a file that may not be read).",
        "/b may not be read: if it is linked statically, it runs outside the pod.",
        "/c changes its user: then files, names and connections may be this machine's. '--interceptor tracer' keeps them.",
    ]
