"""The websocket of a port-forward, against a server that does not speak as a kubelet does."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from inpod.targets.kube import portforward
from inpod.targets.kube.background import Background
from inpod.targets.kube.cluster import Cluster
from inpod.targets.kube.portforward import PROTOCOL, PortForward, PortForwardFailed

LIMIT_S = 20.0
PORT = 8080

Opening = Callable[[], Awaitable[PortForward]]


@asynccontextmanager
async def server(folder: Path, first: list[bytes]) -> AsyncIterator[tuple[Opening, asyncio.Event, asyncio.Event]]:
    """Answer with `first` and nothing more; yields what opens a port-forward, and what happens when it is there and gone."""
    there, gone = asyncio.Event(), asyncio.Event()

    async def answer(connection: ServerConnection) -> None:
        for message in first:
            await connection.send(message)
        there.set()
        await connection.wait_closed()
        gone.set()

    async with serve(answer, "127.0.0.1", 0, subprotocols=[PROTOCOL]) as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        config = folder / "kubeconfig"
        named = {"name": "x", "cluster": {"server": url}, "user": {}, "context": {"cluster": "x", "user": "x"}}
        lists = {f"{kind}s": [{"name": "x", kind: named[kind]}] for kind in ("cluster", "user", "context")}
        config.write_text(json.dumps({"kind": "Config", "apiVersion": "v1", "current-context": "x", **lists}))
        async with await Cluster.connect(kubeconfig=str(config)) as cluster:
            yield lambda: PortForward.open(cluster, "web", PORT, Background()), there, gone


def test_cancelled_start_leaves_no_websocket(tmp_path: Path) -> None:
    async def story() -> None:
        async with asyncio.timeout(LIMIT_S), server(tmp_path, []) as (open_it, there, gone):
            opening = asyncio.ensure_future(open_it())
            await there.wait()
            opening.cancel()
            with suppress(asyncio.CancelledError):
                await opening
            await gone.wait()

    asyncio.run(story())


@pytest.mark.parametrize("first", [[b"hello"], []], ids=["something else", "nothing"])
def test_wrong_start_is_told_and_leaves_no_websocket(
    tmp_path: Path, first: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portforward, "OPEN_LIMIT_S", 0.5)

    async def story() -> None:
        async with asyncio.timeout(LIMIT_S), server(tmp_path, first) as (open_it, _, gone):
            with pytest.raises(PortForwardFailed):
                await open_it()
            await gone.wait()

    asyncio.run(story())
