"""A process that holds a redirect, for tests: `redirect_holder.py TECHNIQUE [NETNS] [ADDRESS…]`, run in a netns or joining one.

Obeys lines on stdin, answers each with a line: "ok", or "error …".
    steal PORT, release PORT, pause PORT, resume PORT, close
    mode steal: answer each connection with "stolen CALLED-IP CALLED-PORT PEER-IP", then echo
    mode http: answer each request with that line
    mode pass: pass each on to the original
    flush PORT: answers how many
    rest, beat: stop and begin to beat
"""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Callable

from inpod.agent import namespaces
from inpod.agent.incoming.flush import flush
from inpod.agent.incoming.redirect.choose import choose
from inpod.agent.incoming.redirect.original import connect_original
from inpod.protocol.agent import Address

BEAT_EVERY_S = 0.25


class Holder:
    def __init__(self, technique: str, addresses: list[str]) -> None:
        self.redirect = choose(technique, addresses or None)  # type: ignore[arg-type]  # from the command line
        self.mode = "steal"
        self.is_beating = True
        self.listening: dict[int, list[socket.socket]] = {}
        self.tasks: set[asyncio.Future[None]] = set()

    async def beat(self) -> None:
        while True:
            if self.is_beating:
                self.redirect.beat()
            await asyncio.sleep(BEAT_EVERY_S)

    def obey(self, words: list[str]) -> str:
        loop = asyncio.get_running_loop()
        match words:
            case ["steal", port]:
                self.listening[int(port)] = self.redirect.steal(int(port))
                for listener in self.listening[int(port)]:
                    loop.add_reader(listener.fileno(), self.accept, listener)
                self.redirect.beat()
            case ["release", port]:
                self.deafen(int(port))
                self.redirect.release(int(port))
            case ["pause", port]:
                self.redirect.pause(int(port))
            case ["resume", port]:
                self.redirect.resume(int(port))
            case ["mode", self.mode]:
                pass
            case ["mode", mode]:
                self.mode = mode
            case ["flush", port]:
                return f"ok {flush(int(port))}"
            case ["rest"]:
                self.is_beating = False
                self.redirect.rest()
            case ["beat"]:
                self.is_beating = True
                self.redirect.beat()
            case ["close"]:
                self.is_beating = False
                for number in list(self.listening):
                    self.deafen(number)
                self.redirect.close()
            case _:
                raise ValueError(words)
        return "ok"

    def deafen(self, port: int) -> None:
        for listener in self.listening.pop(port):
            asyncio.get_running_loop().remove_reader(listener.fileno())

    def accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, peer = listener.accept()
                sock.setblocking(False)
                task = asyncio.ensure_future(self.serve(sock, peer[0]))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)

    async def serve(self, sock: socket.socket, peer: str) -> None:
        loop = asyncio.get_running_loop()
        with sock, contextlib.suppress(OSError):
            called = self.redirect.called(sock)
            if self.mode == "pass":
                await self.pass_on(sock, called)
                return
            greeting = f"stolen {called.ip} {called.port} {peer}\n".encode()
            if self.mode == "http":
                while await loop.sock_recv(sock, 65536):
                    await loop.sock_sendall(sock, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(greeting))
                    await loop.sock_sendall(sock, greeting)
                return
            await loop.sock_sendall(sock, greeting)
            while data := await loop.sock_recv(sock, 65536):
                await loop.sock_sendall(sock, data)

    async def pass_on(self, sock: socket.socket, called: Address) -> None:
        try:
            found = connect_original(self.redirect, called)
            original = found if isinstance(found, socket.socket) else await found
        except OSError as error:
            await asyncio.get_running_loop().sock_sendall(sock, f"{error}\n".encode())
            return
        with original:
            async with asyncio.TaskGroup() as group:
                group.create_task(copy(sock, original))
                group.create_task(copy(original, sock))


async def copy(source: socket.socket, to: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        while data := await loop.sock_recv(source, 65536):
            await loop.sock_sendall(to, data)
    with contextlib.suppress(OSError):
        to.shutdown(socket.SHUT_WR)


async def main(technique: str, addresses: list[str]) -> None:
    loop = asyncio.get_running_loop()
    holder = Holder(technique, addresses)
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    say: Callable[[str], None] = lambda line: print(line, flush=True)  # noqa: E731
    say(f"ok {holder.redirect.name}")
    beat = asyncio.ensure_future(holder.beat())
    while line := await commands.readline():
        try:
            say(holder.obey(line.decode().split()))
        except OSError as error:
            say(f"error {error}")
    beat.cancel()


if __name__ == "__main__":
    technique, netns, *addresses = sys.argv[1:]
    if netns != "-":
        with open(netns) as file:
            namespaces.setns(file.fileno(), namespaces.CLONE_NEWNET)
    asyncio.run(main(technique, addresses))
