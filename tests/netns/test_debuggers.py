"""Debuggers attach to a program in a pod: their ports belong to this machine."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.delve import delve
from tests.matrix import Remote, Running, inpod
from tests.netns.test_matrix import remote as remote  # the fixture
from tests.packages import need
from tests.ports import free_port
from tests.processes import LIMIT_S, next_line

PROGRAM = """
import sys, urllib.request
print("call", urllib.request.urlopen("http://orders:9000/debugged").read().decode(), flush=True)
sys.stdin.read()
"""

JAVA = """
import java.io.*;
import java.net.*;
public class Debugged {
    public static void main(String[] words) throws Exception {
        InputStream answer = new URL("http://orders:9000/debugged").openStream();
        System.out.println("call " + new String(answer.readAllBytes()));
        Thread.sleep(60_000);
    }
}
"""


GO = """
package main
import ("fmt"; "io"; "net/http"; "os")
func main() {
    answer, err := http.Get("http://orders:9000/debugged")
    if err != nil { fmt.Println(err); os.Exit(1) }
    text, _ := io.ReadAll(answer.Body)
    fmt.Println("call " + string(text))
}
"""

C = """
#include <fcntl.h>
#include <unistd.h>
void stop(void) {}
int main(void) {
    char text[64] = "";
    int fd = open("/srv/menu.txt", O_RDONLY);
    int got = read(fd, text, sizeof text - 1);
    stop();
    return got <= 0;
}
"""


def start(remote: Remote, interceptor: str, folder: Path, *program: str) -> Running:
    """Run a program in the pod's place; what inpod says goes into a file of the folder."""
    options = ["--target", remote.target, "--interceptor", interceptor]
    return Running.start([*inpod(), "exec", *options, "--", *program], dict(os.environ), folder / "stderr")


def connected(port: int) -> socket.socket:
    """Connect to a debugger's port as an editor does, once it listens."""
    end = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=20)
        except ConnectionRefusedError:
            assert time.monotonic() < end, "nobody listens on the debugger's port"
            time.sleep(0.05)


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
@pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")
def test_debugpy_attaches_and_the_program_calls_from_the_pod(remote: Remote, interceptor: str, tmp_path: Path) -> None:
    source = tmp_path / "debugged.py"
    source.write_text(PROGRAM)
    port = free_port()
    debugger = [sys.executable, "-Xfrozen_modules=off", "-m", "debugpy", "--listen", str(port), "--wait-for-client"]
    running = start(remote, interceptor, tmp_path, *debugger, str(source))
    try:
        with connected(port) as editor, editor.makefile("rwb") as file:

            def send(number: int, command: str, **arguments: object) -> None:
                body = json.dumps({"seq": number, "type": "request", "command": command, "arguments": arguments})
                file.write(f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
                file.flush()

            def until(event: str) -> None:
                while True:
                    size = 0
                    while line := file.readline().strip():
                        size = int(line.partition(b":")[2])
                    message = json.loads(file.read(size))
                    if message.get("event") == event or message.get("command") == event:
                        return

            send(1, "initialize", adapterID="test")
            until("initialize")
            send(2, "attach", justMyCode=False)
            until("initialized")
            send(3, "configurationDone")
            assert running.expect("call") == "two orders /debugged"
    except BaseException:
        print((tmp_path / "stderr").read_text(), file=sys.stderr)
        raise
    finally:
        running.end()


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
@pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")
def test_node_inspector_answers_here_and_the_program_calls_from_the_pod(
    remote: Remote, interceptor: str, tmp_path: Path
) -> None:
    source = tmp_path / "debugged.js"
    source.write_text(
        'fetch("http://orders:9000/debugged").then((r) => r.text()).then((t) => console.log("call " + t));'
        "setInterval(() => {}, 1000);"
    )
    port = free_port()
    running = start(remote, interceptor, tmp_path, "node", f"--inspect={port}", str(source))
    try:
        assert running.expect("call") == "two orders /debugged"
        connected(port).close()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/version", timeout=20) as answer:
            assert b"node.js" in answer.read()
    finally:
        running.end()


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
@pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")
def test_jdb_attaches_and_the_program_calls_from_the_pod(remote: Remote, interceptor: str, tmp_path: Path) -> None:
    (tmp_path / "Debugged.java").write_text(JAVA)
    subprocess.run(["javac", "Debugged.java"], cwd=tmp_path, check=True)
    port = free_port()
    agent = f"-agentlib:jdwp=transport=dt_socket,server=y,suspend=y,address={port}"
    running = start(remote, interceptor, tmp_path, "java", agent, "-cp", str(tmp_path), "Debugged")
    try:
        running.expect("Listening for transport")
        with subprocess.Popen(
            ["jdb", "-attach", str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        ) as jdb:
            try:
                assert jdb.stdin is not None
                # Only now does jdb know of a thread that can go on: told earlier it would do nothing.
                until(jdb, "No frames on the current call stack")
                jdb.stdin.write("stop in Debugged.main\nrun\n")
                until(jdb, "Breakpoint hit")
                jdb.stdin.write("cont\n")
                assert running.expect("call") == "two orders /debugged"
                jdb.stdin.write("quit\n")
                jdb.wait(LIMIT_S)
            finally:
                jdb.kill()
    finally:
        running.end()


@pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")
def test_delve_attaches_and_the_static_program_calls_from_the_pod(remote: Remote, tmp_path: Path) -> None:
    dlv = str(delve())
    (tmp_path / "main.go").write_text(GO)
    build = ["go", "build", "-gcflags=all=-N -l", "-o", "debugged", "main.go"]
    subprocess.run(build, cwd=tmp_path, check=True, env=os.environ | {"CGO_ENABLED": "0"})
    port = free_port()
    debugger = [dlv, "exec", "--headless", f"--listen=127.0.0.1:{port}", str(tmp_path / "debugged")]
    argv = [*inpod(), "exec", "--target", remote.target, "--", *debugger]
    running = Running.start(argv, dict(os.environ), tmp_path / "stderr")
    try:
        running.expect("API server listening at:")
        with subprocess.Popen(
            [dlv, "connect", "--allow-non-terminal-interactive", f"127.0.0.1:{port}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        ) as client:
            try:
                assert client.stdin is not None
                client.stdin.write("break main.main\ncontinue\n")
                until(client, "> [Breakpoint 1] main.main()")
                client.stdin.write("continue\n")
                assert running.expect("call") == "two orders /debugged"
            finally:
                client.kill()
    finally:
        running.end()


@pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")
@pytest.mark.parametrize(("interceptor", "flag"), [("layer", "-g"), ("tracer", "-g"), ("tracer", "-static")])
def test_gdb_stops_in_a_program_that_has_the_pods_file(
    remote: Remote, tmp_path: Path, interceptor: str, flag: str
) -> None:
    (tmp_path / "main.c").write_text(C)
    subprocess.run(["gcc", "-g", flag, "-o", "debugged", "main.c"], cwd=tmp_path, check=True)
    commands = ["break stop", "run", "up", "print text", "continue"]
    words = [word for command in commands for word in ("-ex", command)]
    options = ["--target", remote.target, "--interceptor", interceptor]
    done = subprocess.run(
        [*inpod(), "exec", *options, "--", need("gdb"), "-q", "-batch", *words, str(tmp_path / "debugged")],
        capture_output=True,
        text=True,
        timeout=2 * LIMIT_S,
    )
    assert f'$1 = "{remote.file_text}' in done.stdout, done.stderr
    assert "exited normally" in done.stdout


def until(process: "subprocess.Popen[str]", text: str) -> None:
    """Read the lines of a process up to one that has `text`."""
    while text not in (line := next_line(process.stdout)):
        assert line or process.poll() is None, f"ended before {text!r}"


def test_processes_end_with_inpod(remote: Remote, tmp_path: Path) -> None:
    """Kill -9 of inpod takes the program along, and what it started."""
    if os.geteuid() != 0:
        pytest.skip("a process of this machine is entered as root")
    argv = [*inpod(), "exec", "--target", remote.target, "--", "sh", "-c", "sleep 300 & echo child $!; wait"]
    running = Running.start(argv, dict(os.environ), tmp_path / "stderr")
    child = int(running.expect("child"))
    running.process.kill()
    end = time.monotonic() + 10
    while Path(f"/proc/{child}").exists():
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(child)], capture_output=True, text=True).stdout
        if state.startswith("Z"):
            break
        assert time.monotonic() < end, "the program's child is still there"
        time.sleep(0.05)
    running.end()
