"""Further languages in the pod, under both interceptors: a file, a connection, a name, the host's own name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.netns.conftest import Pod
from tests.netns.pod import ECHO_PORT
from tests.netns.session import ROOT
from tests.packages import need
from tests.processes import LIMIT_S

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")

RUBY = f"""
require "socket"
print File.read("/srv/app/config")
TCPSocket.open("echo.pod", {ECHO_PORT}) {{ |sock| sock.write("me?"); puts sock.read(3), sock.peeraddr(false)[2] }}
puts Socket.gethostname
"""

PHP = f"""
echo file_get_contents("/srv/app/config");
$sock = stream_socket_client("tcp://echo.pod:{ECHO_PORT}", $number, $text, 5);
fwrite($sock, "me?");
echo fread($sock, 3), "\\n", explode(":", stream_socket_get_name($sock, true))[0], "\\n", gethostname(), "\\n";
"""

RUST = f"""
use std::io::{{Read, Write}};
fn main() {{
    print!("{{}}", std::fs::read_to_string("/srv/app/config").unwrap());
    let mut sock = std::net::TcpStream::connect("echo.pod:{ECHO_PORT}").unwrap();
    sock.write_all(b"me?").unwrap();
    let mut answer = [0; 3];
    sock.read_exact(&mut answer).unwrap();
    println!("{{}}\\n{{}}", String::from_utf8_lossy(&answer), sock.peer_addr().unwrap().ip());
    println!("{{}}", String::from_utf8_lossy(&std::process::Command::new("uname").arg("-n").output().unwrap().stdout).trim());
}}
"""


@pytest.fixture(scope="module")
def rust(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rust")
    (folder / "main.rs").write_text(RUST)
    subprocess.run(["rustc", "-o", folder / "main", folder / "main.rs"], check=True, capture_output=True)
    return folder / "main"


def command(language: str, rust: Path) -> list[str]:
    if language != "rust":
        need(language)
    return {"ruby": ["ruby", "-e", RUBY], "php": ["php", "-r", PHP], "rust": [str(rust)]}[language]


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
@pytest.mark.parametrize("language", ["rust", "ruby", "php"])
def test_program_stands_in_the_pod(pod: Pod, rust: Path, language: str, interceptor: str) -> None:
    hosts = Path(f"/proc/{pod.pid}/root/etc/hosts")
    before = hosts.read_text()
    hosts.write_text(f"{before}10.77.0.1 echo.pod\n")
    words = ["-t", f"pid/{pod.pid}", "--interceptor", interceptor, "--progress", "off"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "inpod", "exec", *words, "--", *command(language, rust)],
            capture_output=True,
            text=True,
            timeout=2 * LIMIT_S,
            cwd=ROOT,
        )
    finally:
        hosts.write_text(before)
    theirs = subprocess.run(["nsenter", "-t", str(pod.pid), "-u", "uname", "-n"], capture_output=True, text=True)
    assert done.stdout == f"key: value\nme?\n10.77.0.1\n{theirs.stdout}", done.stderr
