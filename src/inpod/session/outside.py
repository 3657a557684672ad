"""Says which programs run outside the pod, or without rights of theirs, and why: each once."""

import os

from inpod.protocol.layer import Warn, encode_reply
from inpod.session.events import Events, Note

WHAT = {
    "32-bit": "runs outside the pod: inpod cannot reach a 32-bit program.",
    "closed": "runs outside the pod: the kernel lets nobody look into it (not dumpable, or a file that may not be read).",
    "unreadable": "may not be read: if it is linked statically, it runs outside the pod.",
    "user": "changes its user: then files, names and connections may be this machine's. '--interceptor tracer' keeps them.",
    "no-new-rights": "runs without its owner's rights: a traced program cannot gain any where inpod is not root.",
}


class Outside:
    """Answers WARN requests."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._told: set[Warn] = set()

    def warn(self, request: Warn) -> bytes:
        """Return the reply."""
        if request not in self._told:
            self._told.add(request)
            what = WHAT.get(request.why, f"runs outside the pod: the layer cannot reach a {request.why} program.")
            self._events.emit(Note(f"{os.fsdecode(request.path)} {what}"))
        return encode_reply(0)
