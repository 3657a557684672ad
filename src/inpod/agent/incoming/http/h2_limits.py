"""What one connection of HTTP/2, and all of them, may cost. No I/O here."""

MOST_STREAMS = 1000
"""Requests of one connection at a time; any more are refused."""

FIRST_STREAMS = 100
"""What a client is told before the original said how many it takes at a time."""

ROOM = 8 * 1024 * 1024
"""Bytes of requests that a client may send before they are passed on, all streams together. Much more than a stream's, so
that a program which stands still (in a debugger, say) does not stop the requests of others."""

STREAM_ROOM = 1024 * 1024
"""The same of one stream, however much its side would take."""

ROOM_STEP = 32 * 1024
"""Less room than this is made larger at once, more only in steps of it."""

SIDE_ROOM = 1024 * 1024
"""Bytes of answers that a side may send before they are passed on."""

MAX_BODY = 65535
"""Most bytes of a body that a filter gets to see: what a stream may send at first."""

MOST_SIDES = 16
"""Connections to the original and to sessions; they are several of one where the older ones were told to end."""

MOST_UNREAD = 10_000
"""Small frames that wait for a side which takes none."""

MOST_HELD = 64 * 1024 * 1024
"""Bytes that wait in all connections together."""

MOST_UNAGREED = 16
"""SETTINGS of a client that wait for sides to agree."""

SETTINGS_LIMIT_S = 10.0
"""How long a side may take to agree to a smaller window."""

BODY_LIMIT_S = 1.0
"""How long a body may take that a filter wants to see."""


class Held:
    """Counts the bytes that wait, of all connections."""

    __slots__ = ("_most", "size")

    def __init__(self, most: int = MOST_HELD) -> None:
        self._most = most
        self.size = 0

    def take(self, size: int) -> bool:
        """Return whether so much more may wait, and count it then."""
        if self.size + size > self._most:
            return False
        self.size += size
        return True

    def give(self, size: int) -> None:
        """So much waits no more."""
        self.size -= size


class Bucket:
    """Lets through so many at once, and so many a second."""

    __slots__ = ("_burst", "_left", "_rate", "_then")

    def __init__(self, burst: int, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._left = float(burst)
        self._then = 0.0

    def take(self, now: float) -> bool:
        """Return whether one more is let through.

        Args:
            now: Seconds of any clock that does not go back.
        """
        self._left = min(self._burst, self._left + (now - self._then) * self._rate)
        self._then = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def idle_frames() -> Bucket:
    """Return the bound on frames that ask for nothing: PING, SETTINGS, PRIORITY, empty DATA, unknown ones.

    gRPC sends a PING for nearly each piece of data, to measure the line.
    """
    return Bucket(10_000, 10_000)


def resets() -> Bucket:
    """Return the bound on requests that a client takes back."""
    return Bucket(1000, 200)
