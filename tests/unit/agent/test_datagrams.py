"""UDP of the agent over real sockets and a real tunnel, on both loops."""

import asyncio
import errno
import socket

import pytest

from inpod.agent import datagrams as subject
from inpod.agent.datagrams import Datagrams
from inpod.agent.dispatch import Abilities
from inpod.agent.target import Target
from inpod.protocol.agent import Address, ConnectUdp, encode, errno_of
from inpod.protocol.datagrams import MAX_DATAGRAM, DatagramDecoder
from inpod.protocol.datagrams import encode as framed
from inpod.tunnel.mux import WINDOW
from inpod.tunnel.streams import Stream, StreamRefused, Tunnel
from tests.unit.tunnel.conftest import Run
from tests.unit.udp import LIMIT_S, SIZES, agent_tunnel, free_port, receive_from, udp_server, until


def connect(tunnel: Tunnel, ip: str, port: int) -> Stream:
    return tunnel.open(encode(ConnectUdp(Address(ip, port))))


async def replies(stream: Stream, count: int) -> list[bytes]:
    decoder, seen = DatagramDecoder(), list[bytes]()
    async with asyncio.timeout(LIMIT_S):
        while len(seen) < count:
            data = await stream.read()
            assert data, "the stream ended"
            seen += decoder.feed(data)
    return seen


async def refusal(stream: Stream) -> int:
    """Return the errno with which the agent ends a stream."""
    async with asyncio.timeout(LIMIT_S):
        with pytest.raises(StreamRefused) as caught:
            await stream.read()
    return errno_of(caught.value.payload, 0)


def is_nobody_at(address: tuple[str, int]) -> bool:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(address)
        except OSError:
            return False
        return True


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_datagrams_pass_both_ways_one_by_one(run: Run, host: str) -> None:
    async def main() -> None:
        with udp_server(host) as server:
            async with agent_tunnel() as tunnel:
                stream = connect(tunnel, *server.getsockname()[:2])
                assert await stream.accepted() == b""
                for size in SIZES:
                    datagram = bytes(range(256)) * 256
                    await stream.write(framed(datagram[:size]))
                    seen, sender = await receive_from(server)
                    assert seen == datagram[:size]
                    server.sendto(seen[::-1], sender)
                    server.sendto(b"", sender)
                    assert await replies(stream, 2) == [seen[::-1], b""]

    run(main)


def test_datagrams_sent_before_the_answer_and_the_end_arrive(run: Run) -> None:
    async def main() -> None:
        with udp_server() as server:
            async with agent_tunnel() as tunnel:
                stream = connect(tunnel, *server.getsockname())
                stream.send(framed(b"one") + framed(b"two"))
                stream.write_eof()
                assert (await receive_from(server))[0] == b"one"
                _, sender = await receive_from(server)
                async with asyncio.timeout(LIMIT_S):
                    assert await stream.read() == b""
                await until(lambda: is_nobody_at(sender))

    run(main)


def test_reset_of_the_session_closes_the_socket(run: Run) -> None:
    async def main() -> None:
        with udp_server() as server:
            async with agent_tunnel() as tunnel:
                stream = connect(tunnel, *server.getsockname())
                stream.send(framed(b"one"))
                _, sender = await receive_from(server)
                assert not is_nobody_at(sender)
                stream.refuse()
                await until(lambda: is_nobody_at(sender))

    run(main)


def test_icmp_error_is_told(run: Run) -> None:
    async def main() -> None:
        async with agent_tunnel() as tunnel:
            stream = connect(tunnel, "127.0.0.1", free_port())
            await stream.accepted()
            stream.send(framed(b"anybody?"))
            assert await refusal(stream) == errno.ECONNREFUSED

    run(main)


def test_other_sockets_outlive_an_icmp_error(run: Run) -> None:
    async def main() -> None:
        with udp_server() as server:
            async with agent_tunnel() as tunnel:
                good = connect(tunnel, *server.getsockname())
                bad = connect(tunnel, "127.0.0.1", free_port())
                bad.send(framed(b"anybody?"))
                assert await refusal(bad) == errno.ECONNREFUSED
                good.send(framed(b"one"))
                seen, sender = await receive_from(server)
                server.sendto(seen, sender)
                assert await replies(good, 1) == [b"one"]

    run(main)


@pytest.mark.parametrize(("ip", "code"), [("not an address", errno.EINVAL), ("127.255.255.255", errno.EACCES)])
def test_kernel_refuses_at_once(run: Run, ip: str, code: int) -> None:
    async def main() -> None:
        async with agent_tunnel() as tunnel:
            assert await refusal(connect(tunnel, ip, 53)) == code

    run(main)


def test_too_long_a_datagram_ends_the_stream(run: Run) -> None:
    async def main() -> None:
        with udp_server() as server:
            async with agent_tunnel() as tunnel:
                stream = connect(tunnel, *server.getsockname())
                stream.send((MAX_DATAGRAM + 1).to_bytes(2))
                assert await refusal(stream) == errno.EPROTO

    run(main)


def test_idle_socket_is_closed(run: Run) -> None:
    async def main() -> None:
        abilities = Abilities(Target("this machine"))
        abilities.datagrams = Datagrams(idle_limit_s=0.3)
        with udp_server() as server:
            async with agent_tunnel(abilities) as tunnel:
                stream = connect(tunnel, *server.getsockname())
                stream.send(framed(b"one"))
                _, sender = await receive_from(server)
                async with asyncio.timeout(LIMIT_S):
                    assert await stream.read() == b""
                await until(lambda: is_nobody_at(sender))

    run(main)


def test_sockets_have_a_limit(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "MAX_SOCKETS", 1)

    async def main() -> None:
        with udp_server() as server:
            async with agent_tunnel() as tunnel:
                first = connect(tunnel, *server.getsockname())
                await first.accepted()
                assert await refusal(connect(tunnel, *server.getsockname())) == errno.EAGAIN
                first.write_eof()
                assert await first.read() == b""
                await connect(tunnel, *server.getsockname()).accepted()

    run(main)


def test_flood_that_nobody_reads_is_dropped_and_passes(run: Run) -> None:
    async def main() -> None:
        datagram = bytes(50_000)
        with udp_server() as server:
            async with agent_tunnel() as tunnel:
                stream = connect(tunnel, *server.getsockname())
                stream.send(framed(b"one"))
                _, sender = await receive_from(server)
                for _ in range(20):
                    for _ in range(10):
                        server.sendto(datagram, sender)
                    # The agent has had its turn: the far end answers on the same loop.
                    await tunnel_turn(tunnel)
                decoder, size = DatagramDecoder(), 0
                async with asyncio.timeout(LIMIT_S):
                    while size < WINDOW:
                        seen = decoder.feed(await stream.read())
                        assert all(one == datagram for one in seen)
                        size += sum(map(len, seen))
                # More than that came, and was dropped; what is sent once there is room arrives.
                while b"last" not in seen:
                    server.sendto(b"last", sender)
                    async with asyncio.timeout(LIMIT_S):
                        seen = decoder.feed(await stream.read())

    async def tunnel_turn(tunnel: Tunnel) -> None:
        with pytest.raises(StreamRefused):
            await tunnel.ask(b"nothing")

    run(main)
