"""Ports that connections to the program come from."""

import asyncio
from pathlib import Path

import pytest

from inpod.protocol.layer import Addr
from inpod.session.incoming import sources
from inpod.session.incoming.sources import Sources
from inpod.session.table import Table

PEER, LOCAL = Addr.of("10.0.0.2", 40000), Addr.of("10.0.0.1", 80)


def test_a_connection_is_forgotten_after_a_while_and_never_after_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "FORGET_AFTER_S", 0.0)

    async def main() -> None:
        complaints: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        table = Table(tmp_path / "table")
        ports = Sources(table)
        (one, first), (other, second) = (ports.bind("127.0.0.1", peer=PEER, local=LOCAL) for _ in range(2))
        one.close()
        other.close()
        ports.ended(first)
        await asyncio.sleep(0)
        ports.close()
        table.close()
        ports.ended(second)
        await asyncio.sleep(0.01)
        assert complaints == []

    asyncio.run(main())
