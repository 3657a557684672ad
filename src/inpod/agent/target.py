"""Finds the process, container or network namespace that is imitated, and joins its network.

Everything is opened once, through a descriptor of /proc/PID, so that a process id used again cannot lead elsewhere.
"""

import contextlib
import errno
import os
import socket
from dataclasses import dataclass, field

from inpod.agent import namespaces

MAX_ENVIRON_BYTES = 8 * 1024 * 1024
"""Most of an environment that is read; the kernel's own bound is a quarter of the stack limit, by default 2 MiB."""

MAX_ETC_BYTES = 4 * 1024 * 1024
"""Most of a resolv.conf, hosts or hostname file that is read."""

_STEP_BYTES = 64 * 1024
"""Read at a time: to get room for the most would cost more than all else of a name's look-up."""


class TargetError(Exception):
    """The target is not there, or a right is missing.

    Attributes:
        code: errno that says it best.
    """

    def __init__(self, reason: str, code: int) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(slots=True)
class Target:
    """What of a target can be reached.

    Attributes:
        describes: For messages: "process 12".
        proc: Descriptor of /proc/PID; None when only a network namespace was named.
        root: Descriptor (O_PATH) of its root directory; None when it cannot be had.
        home: Descriptor of the network namespace that was left for the target's; None: it is the same.
        netns_name: Last part of the network namespace's path, for the files of ip-netns(8).
        hostname: Its host name, as its UTS namespace or its files say.
        cannot: As in `Welcome`.
    """

    describes: str
    proc: int | None = None
    root: int | None = None
    home: int | None = None
    netns_name: str = ""
    hostname: str = ""
    cannot: dict[str, str] = field(default_factory=dict)

    def environ(self) -> dict[bytes, bytes]:
        """Return the environment the target was started with; of names that occur twice the first, as getenv(3).

        Raises:
            OSError: The target is gone, or a right is missing.
        """
        if self.proc is None:
            raise OSError(errno.ENOTSUP, self.cannot["env"])
        with open(os.open("environ", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.proc), "rb") as file:
            return parse_environ(file.read(MAX_ENVIRON_BYTES))

    def read_etc(self, name: str) -> bytes:
        """Return the content of the target's /etc/`name`; empty when it is not there or cannot be read."""
        if self.root is not None:
            return _read(self.root, b"/etc/" + os.fsencode(name))
        if self.proc is not None:
            return b""
        # Only a network namespace: ip-netns(8) keeps its files in /etc/netns/NAME, else this machine's count.
        for path in (f"/etc/netns/{self.netns_name}/{name}", f"/etc/{name}"):
            with contextlib.suppress(OSError), open(path, "rb") as file:
                return file.read(MAX_ETC_BYTES)
        return b""


def parse_environ(data: bytes) -> dict[bytes, bytes]:
    """Return names and values of a /proc/PID/environ; pieces without "=" (a rewritten process title) are no variables."""
    found: dict[bytes, bytes] = {}
    for piece in data.split(b"\0"):
        name, equals, value = piece.partition(b"=")
        if name and equals:
            found.setdefault(name, value)
    return found


def enter(pid: int | None, netns: str | None, container_id: str | None) -> Target:
    """Find the target and move this thread into its network namespace. Call before any other thread starts.

    With `netns` the network is that one, and a process, if named too, gives environment, files and host name.

    Raises:
        TargetError: It is not there, or a right is missing.
    """
    if container_id is not None:
        pid = find_container(container_id)
    if pid is not None:
        target = _open_process(pid)
    elif netns is not None:
        reason = f"'{netns}' is a network only; name a process too"
        target = Target(f"network namespace '{netns}'", cannot={"env": reason, "files": reason})
        target.hostname = socket.gethostname()
    else:
        raise TargetError("no target is named", errno.EINVAL)
    if netns is not None:
        target.netns_name = os.path.basename(netns)
    _join_network(target, netns)
    if target.proc is not None:
        target.hostname = _hostname(target, target.proc)
    return target


def find_container(container_id: str) -> int:
    """Return the id of a container's first process.

    That is the oldest of the processes whose cgroup names the container and whose parent is outside of it; younger ones
    were put in from outside (`kubectl exec`).

    Raises:
        TargetError: No such process.
    """
    parents: dict[int, tuple[int, int]] = {}
    needle = container_id.encode()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(f"/proc/{name}/cgroup", "rb") as file:
                if needle not in file.read():
                    continue
            with open(f"/proc/{name}/stat", "rb") as file:
                parents[int(name)] = _parent_and_start(file.read())
    outermost = [(start, pid) for pid, (parent, start) in parents.items() if parent not in parents]
    if not outermost:
        raise TargetError(f"no process of container {container_id[:12]} runs here", errno.ESRCH)
    return min(outermost)[1]


def _parent_and_start(stat: bytes) -> tuple[int, int]:
    """Return parent and start time (in clock ticks) out of a /proc/PID/stat; the name before them may hold anything."""
    after_name = stat[stat.rindex(b")") + 2 :].split()
    return int(after_name[1]), int(after_name[19])


def _open_process(pid: int) -> Target:
    target = Target(f"process {pid}")
    try:
        target.proc = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise TargetError(f"there is no process {pid}", errno.ESRCH) from error
    _open_root(target, target.proc)
    _try_environ(target)
    return target


def _open_root(target: Target, proc: int) -> None:
    try:
        root = os.open("root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=proc)
    except OSError as error:
        target.cannot["files"] = f"root directory of {target.describes}: {error.strerror}; needs CAP_SYS_PTRACE"
        return
    try:
        os.close(namespaces.open_in_root(root, b"/", os.O_PATH))
    except OSError as error:
        os.close(root)
        target.cannot["files"] = f"openat2: {error.strerror}; needs Linux 5.6 and a seccomp profile that allows it"
        return
    target.root = root
    target.cannot.pop("files", None)


def _try_environ(target: Target) -> None:
    try:
        target.environ()
    except OSError as error:
        needs = "CAP_SYS_PTRACE, and for another user's process CAP_DAC_READ_SEARCH"
        target.cannot["env"] = f"environment of {target.describes}: {error.strerror}; needs {needs}"
    else:
        target.cannot.pop("env", None)


def _join_network(target: Target, netns: str | None) -> None:
    try:
        path = "ns/net" if netns is None else os.path.abspath(netns)
        wanted = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=target.proc)
    except FileNotFoundError as error:
        what = f"network namespace '{netns}'" if netns is not None else target.describes
        raise TargetError(f"there is no {what}", error.errno or errno.ENOENT) from error
    except OSError as error:
        raise _no_right(target, error) from error
    try:
        if os.path.samestat(os.fstat(wanted), os.stat("/proc/self/ns/net")):
            return  # joining even one's own needs CAP_SYS_ADMIN
        target.home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        namespaces.setns(wanted, namespaces.CLONE_NEWNET)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise TargetError(f"'{netns}' is no network namespace", errno.EINVAL) from error
        if error.errno != errno.EPERM or not _join_owner(target, wanted):
            raise _no_right(target, error) from error
        try:
            namespaces.setns(wanted, namespaces.CLONE_NEWNET)
        except OSError as second:
            raise _no_right(target, second) from second
    finally:
        os.close(wanted)


def _join_owner(target: Target, netns: int) -> bool:
    """Join the user namespace that owns the network; False when that is refused or it is this one.

    Only when the network is refused otherwise: root of the machine would lose rights by it (BPF), while an ordinary
    user has in a user namespace of his own every right, once inside.
    """
    try:
        users = namespaces.owner(netns)
        try:
            namespaces.setns(users, namespaces.CLONE_NEWUSER)
        finally:
            os.close(users)
    except OSError:
        return False
    # What was refused outside may be allowed inside.
    if target.proc is not None and target.root is None:
        _open_root(target, target.proc)
    if target.proc is not None and "env" in target.cannot:
        _try_environ(target)
    return True


def _no_right(target: Target, error: OSError) -> TargetError:
    needs = "joining it needs root (CAP_SYS_ADMIN and CAP_SYS_PTRACE)"
    return TargetError(f"network of {target.describes}: {error.strerror}; {needs}", error.errno or errno.EPERM)


def _hostname(target: Target, proc: int) -> str:
    """Return the target's host name; joins its UTS namespace where that is allowed, which nothing else here depends on."""
    with contextlib.suppress(OSError):
        uts = os.open("ns/uts", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
        try:
            namespaces.setns(uts, namespaces.CLONE_NEWUTS)
            return socket.gethostname()
        finally:
            os.close(uts)
    written = target.read_etc("hostname").strip()
    with contextlib.suppress(OSError):
        written = written or target.environ().get(b"HOSTNAME", b"")
    return written.decode("utf-8", "replace") or socket.gethostname()


def _read(root: int, path: bytes) -> bytes:
    with contextlib.suppress(OSError):
        # O_NONBLOCK: a pipe put there must not hang us.
        fd = namespaces.open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            data = b""
            while len(data) < MAX_ETC_BYTES and (more := os.read(fd, _STEP_BYTES)):
                data += more
            return data[:MAX_ETC_BYTES]
        finally:
            os.close(fd)
    return b""
