"""Says which programs run outside the pod, and why: each once."""

import os

from inpod.protocol.layer import Warn, encode_reply
from inpod.session.events import Events, Note

CLOSED = "the kernel lets nobody look into it (it is not dumpable, or its file may not be read)"


class Outside:
    """Answers WARN requests."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._told: set[Warn] = set()

    def warn(self, request: Warn) -> bytes:
        """Return the reply."""
        if request not in self._told:
            self._told.add(request)
            why = CLOSED if request.why == "closed" else f"the layer cannot reach a {request.why} program"
            self._events.emit(Note(f"{os.fsdecode(request.path)} runs outside the pod: {why}."))
        return encode_reply(0)
