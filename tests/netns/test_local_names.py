"""Whose names are whose, for programs that ask name servers themselves and for those that libc answers: `dns.filter`.

The session runs on a machine of its own (`machine`), so what this machine says of a name is known.
"""

import contextlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from tests.netns.conftest import Pod
from tests.netns.languages import command
from tests.netns.name_daemons import NSCD, RESOLVED
from tests.netns.session import ROOT
from tests.packages import need
from tests.processes import LIMIT_S

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a process of this machine is entered as root")

# Each prints, for every argument, how many addresses it has and the least of them; or "none".

GO = """
package main
import ("context"; "fmt"; "net"; "os"; "slices")
func main() {
    resolver := &net.Resolver{PreferGo: true}
    for _, name := range os.Args[1:] {
        found, err := resolver.LookupHost(context.Background(), name)
        if err != nil { fmt.Println("none"); continue }
        fmt.Println(len(found), slices.Min(found))
    }
}
"""

NODE = """
(async () => {
    for (const name of process.argv.slice(1)) {
        try { const found = await require("dns").promises.resolve4(name); console.log(found.length, found.sort()[0]); }
        catch (error) { console.log("none"); }
    }
})();
"""

PYTHON = """
import socket, sys
for name in sys.argv[1:]:
    try: found = {entry[4][0] for entry in socket.getaddrinfo(name, 80, socket.AF_INET)}; print(len(found), min(found))
    except OSError: print("none")
"""

PHP = """
foreach (array_slice($argv, 1) as $name) {
    $found = array_column(dns_get_record($name, DNS_A) ?: [], "ip");
    sort($found, SORT_STRING);
    echo $found ? count($found) . " " . $found[0] : "none", "\\n";
}
"""

MUSL = """
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int count, char **names) {
    for (int i = 1; i < count; i++) {
        struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
        char ip[64];
        if (getaddrinfo(names[i], "80", &hints, &found)) { puts("none"); continue; }
        printf("1 %s\\n", inet_ntop(AF_INET, &((struct sockaddr_in *)found->ai_addr)->sin_addr, ip, sizeof ip));
    }
}
"""


INTERCEPTED = {"layer": ["go", "node", "python", "php", "musl"], "tracer": ["node", "python", "php"]}
"""Who asks under which interceptor; programs without a dynamic linker are traced in any case."""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The programs by language, as far as their languages are installed."""
    folder = tmp_path_factory.mktemp("askers")
    found = {"python": [sys.executable, "-c", PYTHON]}
    for language, text in (("go", GO), ("node", NODE), ("php", PHP)):
        with contextlib.suppress(pytest.skip.Exception):
            found[language] = command(language, folder, text)
    if "php" in found:
        found["php"].append("--")
    with contextlib.suppress(pytest.skip.Exception):
        compiler = need("musl-gcc")
        (folder / "ask.c").write_text(MUSL)
        subprocess.run([compiler, "-static", "-o", folder / "ask", folder / "ask.c"], check=True)
        found["musl"] = [str(folder / "ask")]
    return found


class Session:
    """What programs are told in sessions: each session is had once, with all programs of its interceptor.

    Attributes:
        language: Of the program whose answers are wanted.
    """

    told: ClassVar[dict[str, dict[str, list[str]]]] = {}

    def __init__(self, pod: Pod, folder: Path, interceptor: str, language: str, programs: dict[str, list[str]]) -> None:
        self._pod = pod
        self._folder = folder
        self._interceptor = interceptor
        self._programs = {each: programs[each] for each in INTERCEPTED[interceptor] if each in programs}
        self.language = language

    def found(self, dns: object, names: list[str]) -> list[str]:
        """Return what the program finds of these names."""
        key = json.dumps([self._pod.pid, self._interceptor, dns, names])
        if key not in self.told:
            self.told[key] = self._ask(dns, names)
        return self.told[key][self.language]

    def _ask(self, dns: object, names: list[str]) -> dict[str, list[str]]:
        asked = [shlex.join([*words, *of_language(each, names)]) for each, words in self._programs.items()]
        one_by_one = ["sh", "-c", 'for each; do eval "$each" || exit; echo; done', "sh", *asked]
        interceptor = "auto" if self._interceptor == "layer" else self._interceptor
        lines = run(self._pod, self._folder, interceptor, dns, *one_by_one)
        answers = "\n".join(lines).rstrip("\n").split("\n\n")
        return {each: said.split("\n") for each, said in zip(self._programs, answers, strict=True)}


def of_language(language: str, names: list[str]) -> list[str]:
    """Musl before 1.2.4 has no TCP: what it sees of an answer that does not fit is a piece of it."""
    return [name for name in names if (language, name) != ("musl", "long.test")]


@pytest.fixture(
    params=[(language, interceptor) for interceptor in INTERCEPTED for language in INTERCEPTED[interceptor]],
    ids="-".join,
)
def asker(request: pytest.FixtureRequest, pod: Pod, tmp_path: Path, programs: dict[str, list[str]]) -> Session:
    """A program under an interceptor."""
    language, interceptor = request.param
    if language not in programs:
        pytest.skip(f"{language} is not installed")
    return Session(pod, tmp_path, interceptor, language, programs)


@pytest.fixture
def hosts(pod: Pod) -> Iterator[None]:
    """Names that the pod's hosts file alone has."""
    file = Path(f"/proc/{pod.pid}/root/etc/hosts")
    before = file.read_text()
    file.write_text(f"{before}10.9.8.7 pod-hosts # a remark\n10.9.8.6 pod-too pod-hosts\n")
    yield
    file.write_text(before)


def run(pod: Pod, folder: Path, interceptor: str, dns: object, *words: str, nsswitch: str = "files dns") -> list[str]:
    """Return the lines that a program prints, whose session runs on a machine of its own."""
    config = folder / "inpod.json"
    config.write_text(json.dumps({"feature": {"network": {"dns": dns}}}))
    machine = ["unshare", "--mount", "--net", sys.executable, "-m", "tests.netns.machine", nsswitch]
    session = [sys.executable, "-m", "inpod", "exec", "-t", f"pid/{pod.pid}", "-f", str(config), "--progress", "off"]
    session += ["--interceptor", interceptor, "--", *words]
    done = subprocess.run([*machine, *session], capture_output=True, text=True, timeout=2 * LIMIT_S, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


NAMES = ["here.test", "pod.test", "api.svc.test", "long.test"]


def test_names_that_the_filter_leaves_here_are_asked_of_this_machines_servers(asker: Session) -> None:
    names = of_language(asker.language, NAMES)

    def found(dns: object) -> list[str]:
        return asker.found(dns, NAMES)

    here = ["1 10.8.0.1", "1 10.8.0.2", "none", "90 10.8.1.0"]
    # Of pod.test Go has the address of IPv6 too, and the musl program tells one.
    of_pod_test = {"go": "3 10.64.0.1", "musl": "1 10.77.0.1"}.get(asker.language, "2 10.64.0.1")
    pods = ["none", of_pod_test, "1 10.2.0.2", "100 10.3.0.0"]
    chosen = [one for n in range(len(names)) for one in [pods[n] if names[n] == "api.svc.test" else here[n]]]
    assert found({}) == pods[: len(names)]
    assert found({"filter": {"local": ["here.test", "POD.test", "*.test"]}}) == here[: len(names)]
    assert found({"filter": {"local": ["here.test", "POD.test", "long.test"]}}) == chosen
    assert found({"filter": {"remote": ["*.svc.test"]}}) == chosen
    assert found({"enabled": False}) == here[: len(names)]


def test_word_of_the_program_is_what_counts(asker: Session) -> None:
    """Not what its resolver makes of it with the pod's search list."""
    if asker.language == "node":
        pytest.skip("c-ares does not search for what it is asked by resolve4")

    def found(**names: list[str]) -> list[str]:
        return asker.found({"filter": names}, ["api", "web", "cache"])

    web = "2 10.2.0.1" if asker.language == "go" else "1 10.2.0.1"
    assert found() == ["1 10.2.0.2", web, "none"]
    assert found(local=["api", "cache"]) == ["none", web, "1 10.8.0.3"]
    assert found(remote=["api"]) == ["1 10.2.0.2", "none", "1 10.8.0.3"]


@pytest.mark.usefixtures("hosts")
def test_hosts_file_is_the_pods_but_for_names_of_here(asker: Session) -> None:
    if asker.language in ("node", "php"):
        pytest.skip("it asks for records of DNS")

    def found(**names: list[str]) -> list[str]:
        return asker.found({"filter": names}, ["pod-hosts", "pod-too", "here-hosts", "not-mine"])

    assert found()[1:] == ["1 10.9.8.6", "none", "none"]
    assert found(local=["pod-hosts", "here-hosts"]) == ["none", "1 10.9.8.6", "1 10.8.8.8", "none"]
    assert found(remote=["pod-too"]) == ["none", "1 10.9.8.6", "1 10.8.8.8", "1 10.8.8.8"]


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
def test_daemons_of_this_machines_names_are_not_there(pod: Pod, tmp_path: Path, interceptor: str) -> None:
    code = """
import errno, socket, sys
for path in sys.argv[1:]:
    for kind in (socket.SOCK_STREAM, socket.SOCK_STREAM | socket.SOCK_NONBLOCK):
        with socket.socket(socket.AF_UNIX, kind) as sock: print(errno.errorcode.get(sock.connect_ex(path), "there"))
"""
    words = [sys.executable, "-c", code, NSCD, "/var" + NSCD, RESOLVED]
    assert run(pod, tmp_path, interceptor, True, *words) == ["ENOENT"] * 6
    assert run(pod, tmp_path, interceptor, False, *words) == ["there"] * 6


@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
def test_name_services_are_files_and_dns(pod: Pod, tmp_path: Path, interceptor: str) -> None:
    """Also where this machine has others, and none of DNS."""
    code = "import socket; print(open('/etc/nsswitch.conf').read(), end=''); print(socket.gethostbyname('api'))"
    words = [sys.executable, "-c", code]
    seen = ["passwd: files", "group: files", "hosts: files dns", "10.2.0.2"]
    assert run(pod, tmp_path, interceptor, True, *words, nsswitch="resolve [!UNAVAIL=return] files") == seen
    own = run(pod, tmp_path, interceptor, False, "cat", "/etc/nsswitch.conf", nsswitch="resolve files")
    assert own == ["passwd: files", "hosts: resolve files", "group: files"]
