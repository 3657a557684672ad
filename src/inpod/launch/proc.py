"""What /proc says of a process (proc(5))."""


def stat_fields(pid: int) -> list[bytes]:
    """Return what follows the name of a process or thread in its /proc/PID/stat: its state, parent, group and the rest.

    Raises:
        OSError: It has ended.
    """
    with open(f"/proc/{pid}/stat", "rb") as file:
        # The name in parentheses may hold anything.
        return file.read().rpartition(b")")[2].split()
