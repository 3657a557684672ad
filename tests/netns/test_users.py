"""Programs that change their user: traced ones go on in the pod, under the layer it is said and they keep what they have."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.netns.conftest import Pod
from tests.netns.pod import ECHO_PORT
from tests.netns.test_filter import PORT, answers, event, get, until_served, warning
from tests.netns.test_filter import original as original  # the fixture
from tests.netns.test_interceptors import INTERCEPTORS, exec_in
from tests.packages import need
from tests.processes import end

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")

NGINX = """
daemon off; master_process on; worker_processes 2; pid nginx.pid; error_log stderr; user nobody nogroup;
events {} http {
    access_log off; client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
    server { listen 8080; location / { return 200 "program"; } location /config { alias /srv/app/config; } }
}
"""

WSGI = """
import os, pwd
def app(environ, start):
    try:
        with open("/srv/app/config") as file: said = file.read().strip()
    except PermissionError: said = "403"
    start("200 OK", [("Content-Type", "text/plain")])
    return [f"program {os.getuid()} {said}".encode()]
"""

SAID = "changes its user: then files, names and connections may be this machine's."


@contextmanager
def served(pod: Pod, interceptor: str, folder: Path, *command: str) -> Iterator["subprocess.Popen[str]"]:
    """A session whose program serves the pod's port; its events are lines of standard error."""
    options = ["-t", f"pid/{pod.pid}", "--steal", "--progress", "json", "--interceptor", interceptor]
    argv = [sys.executable, "-m", "inpod", "exec", *options, "--", *command]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=folder) as process:
        try:
            event(process, "PortSubscribed")
            if interceptor == "layer":
                assert SAID in warning(process)
            until_served(pod, ["program"], [get()])
            yield process
        finally:
            end(process)


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that every user may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("interceptor", INTERCEPTORS)
def test_nginx_with_workers_of_another_user(pod: Pod, original: None, folder: Path, interceptor: str) -> None:
    (folder / "nginx.conf").write_text(NGINX)
    with served(pod, interceptor, folder, need("nginx"), "-p", ".", "-c", "nginx.conf"):
        found = [" ".join(answers(pod, get("/config"))) for _ in range(6)]
        expected = "key: value" if interceptor == "tracer" else "403 Forbidden"
        assert all(expected in text for text in found), found


@pytest.mark.parametrize("interceptor", INTERCEPTORS)
def test_gunicorn_with_workers_of_another_user(pod: Pod, original: None, folder: Path, interceptor: str) -> None:
    (folder / "served.py").write_text(WSGI)
    words = ["-m", "gunicorn", "--preload", "-w", "2", "-u", "nobody", "-g", "nogroup", "-b", f"0.0.0.0:{PORT}"]
    with served(pod, interceptor, folder, sys.executable, *words, "served:app"):
        expected = "program 65534 key: value" if interceptor == "tracer" else "program 65534 403"
        assert {answers(pod, get())[0] for _ in range(6)} == {expected}


@pytest.mark.parametrize("interceptor", INTERCEPTORS)
def test_threads_of_another_user_connect_from_the_pod(pod: Pod, interceptor: str) -> None:
    """A process that changes its user keeps what it can ask the session by, for several threads at a time."""
    code = (
        "import encodings.idna, os, socket, threading\n"
        "begin, lock, found = threading.Barrier(12), threading.Lock(), set()\n"
        "def work():\n"
        "    for _ in range(20):\n"
        "        begin.wait()\n"
        f"        with socket.create_connection(('10.77.0.1', {ECHO_PORT}), timeout=20) as sock:\n"
        "            with lock: found.add(sock.getsockname()[0])\n"
        "os.setuid(65534)\n"
        "threads = [threading.Thread(target=work) for _ in range(12)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        "print(found)"
    )
    assert exec_in(pod, interceptor, sys.executable, "-c", code).stdout == "{'10.77.0.1'}\n"


@pytest.mark.parametrize("interceptor", INTERCEPTORS)
def test_su(pod: Pod, interceptor: str) -> None:
    done = exec_in(pod, interceptor, "su", "nobody", "-s", "/bin/sh", "-c", "id -un; cat /srv/app/config; true")
    assert done.stdout == ("nobody\nkey: value\n" if interceptor == "tracer" else "nobody\n")
    assert (SAID in done.stderr) == (interceptor == "layer")
