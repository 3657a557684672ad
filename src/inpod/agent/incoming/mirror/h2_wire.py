"""What is between a copied HTTP/2 connection and the `Copy` that carries it: its bytes both ways, and the room it takes."""

from collections.abc import Callable
from typing import Protocol

from inpod.agent.incoming.http.h2_limits import Held
from inpod.agent.incoming.http.h2_side import Side
from inpod.agent.incoming.mirror.copy import Copy, Room


class Owner(Protocol):
    """Who has the connection."""

    def answered(self, side: Side, data: bytes) -> None:
        """Bytes of the program came."""

    def gone(self, side: Side) -> None:
        """The program ended the connection, or could not be reached; or the copy had no room."""


class Wire:
    """A copy as the connection of a side."""

    def __init__(self, owner: Owner, side: Side, copy: Copy, on_dropped: Callable[[int], None]) -> None:
        self.copy = copy
        self._on_dropped = on_dropped
        self._owner = owner
        self._side = side

    # The side's end.

    def write(self, data: bytes) -> None:
        if not self.copy.is_over and (lost := self.copy.write(data)):
            self._on_dropped(lost)

    def close(self) -> None:
        if not self.copy.is_over:
            self.copy.finish()
            self.copy.flush()

    def abort(self) -> None:
        self.copy.cut()

    # The copy's end.

    def answered(self, data: bytes) -> None:
        if not self._side.is_lost:
            self._owner.answered(self._side, data)

    def ended(self) -> None:
        if not self._side.is_lost:
            self._owner.gone(self._side)


class HeldInRoom(Held):
    """Counts what waits of one connection, and with it what all copies hold."""

    __slots__ = ("_room",)

    def __init__(self, room: Room) -> None:
        super().__init__(room.copy_bytes)
        self._room = room

    def take(self, size: int) -> bool:
        if self._room.used + size > self._room.total_bytes or not super().take(size):
            return False
        self._room.used += size
        return True

    def give(self, size: int) -> None:
        super().give(size)
        self._room.used -= size
