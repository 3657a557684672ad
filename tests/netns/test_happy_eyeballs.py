"""Programs that try both families of a name, the one a moment after the other, end at the address that answers."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.conftest import Pod
from tests.netns.languages import command
from tests.netns.pod import ECHO_PORT
from tests.netns.test_interceptors import inside

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")

ANSWERS = {"four.pod": "10.77.0.1", "six.pod": "fd77::1"}
HOSTS = """
10.77.0.1 four.pod
fd77::250 four.pod
10.77.0.9 six.pod
fd77::1 six.pod
"""
"""Of each name one address is silent, whichever a program begins with."""

ASYNCIO = f"""
import asyncio
async def call(name):
    reader, writer = await asyncio.open_connection(name, {ECHO_PORT}, happy_eyeballs_delay=0.05)
    writer.write(b"me?")
    assert await reader.readexactly(3) == b"me?"
    print(name, writer.get_extra_info("peername")[0])
    writer.close()
async def main():
    for name in ("four.pod", "six.pod"): await call(name)
asyncio.run(main())
"""

NODE = f"""
const net = require("net");
const call = (host) => new Promise((done) => {{
  const options = {{ host, port: {ECHO_PORT}, autoSelectFamily: true, autoSelectFamilyAttemptTimeout: 50 }};
  const sock = net.connect(options, () => sock.write("me?"));
  sock.on("data", () => (console.log(host, sock.remoteAddress), sock.destroy(), done()));
}});
call("four.pod").then(() => call("six.pod"));
"""

GO = f"""
package main
import ("fmt"; "net"; "time")
func main() {{
    for _, name := range []string{{"four.pod", "six.pod"}} {{
        dialer := net.Dialer{{FallbackDelay: 50 * time.Millisecond}}
        sock, err := dialer.Dial("tcp", fmt.Sprintf("%s:%d", name, {ECHO_PORT}))
        if err != nil {{ panic(err) }}
        sock.Write([]byte("me?"))
        sock.Read(make([]byte, 3))
        fmt.Println(name, sock.RemoteAddr().(*net.TCPAddr).IP)
        sock.Close()
    }}
}}
"""


@pytest.fixture
def hosts(pod: Pod) -> Iterator[None]:
    file = Path(f"/proc/{pod.pid}/root/etc/hosts")
    before = file.read_text()
    file.write_text(before + HOSTS)
    yield
    file.write_text(before)


@pytest.mark.usefixtures("hosts")
@pytest.mark.parametrize(
    ("language", "interceptor"),
    [("asyncio", "layer"), ("asyncio", "tracer"), ("node", "layer"), ("node", "tracer"), ("go", "tracer")],
)
def test_the_address_that_answers_is_taken(pod: Pod, tmp_path: Path, language: str, interceptor: str) -> None:
    texts = {"node": NODE, "go": GO}
    words = [sys.executable, "-c", ASYNCIO] if language == "asyncio" else command(language, tmp_path, texts[language])
    found = dict(line.split() for line in inside(pod, interceptor, *words).splitlines())
    assert found == ANSWERS
