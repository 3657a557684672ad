"""`feature.network.dns.filter` for programs that ask name servers themselves: whose each name is. No I/O here.

The interceptors decide so for names that a program gives to libc (native/rules `net`). Here a name comes as it is asked
for, with a domain of the search list or without: what is left without one counts as the program's word as well.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from inpod.config.outgoing import Way


class NameFilter(NamedTuple):
    """Attributes:
    remote, local: These names only are the target's, or all but these: "db.prod.svc", "*.cluster.local".
    search: Domains that the target's resolvers add to names.
    """

    remote: Sequence[str]
    local: Sequence[str]
    search: Sequence[str]

    @staticmethod
    def of(way: Way, search: Sequence[str]) -> "NameFilter | None":
        """Return that of a session, None when it leaves no name here."""
        if not (way.names_remote or way.names_local):
            return None
        return NameFilter(way.names_remote, way.names_local, [domain.strip(".").lower() for domain in search])

    def is_local(self, name: str) -> bool:
        """Return whether this machine answers for a name."""
        name = name.lower().removesuffix(".")
        forms = [name, *(name.removesuffix(f".{domain}") for domain in self.search if domain)]

        def is_one_of(patterns: Sequence[str]) -> bool:
            return any(_is_like(form, pattern.lower()) for form in forms for pattern in patterns)

        # What DNS has in the place of an address is in no list of names.
        is_of_address = name.endswith((".in-addr.arpa", ".ip6.arpa"))
        is_remote = not self.remote or is_of_address or is_one_of(self.remote)
        return not is_remote or is_one_of(self.local)


def joined_hosts(pods: bytes, own: bytes, is_local: Callable[[str], bool]) -> bytes:
    """Return a hosts file (hosts(5)) with the target's names and, of those that are local, this machine's."""
    lines = [*_lines(pods, lambda name: not is_local(name)), *_lines(own, is_local)]
    return b"".join(line + b"\n" for line in lines)


def _lines(hosts: bytes, is_wanted: Callable[[str], bool]) -> list[bytes]:
    found = []
    for line in hosts.splitlines():
        address, *names = line.partition(b"#")[0].split() or [b""]
        if wanted := [name for name in names if is_wanted(name.decode("latin-1"))]:
            found.append(b"\t".join([address, b" ".join(wanted)]))
    return found


def _is_like(name: str, pattern: str) -> bool:
    if pattern.startswith("*"):
        return name.endswith(pattern[1:]) and len(name) >= len(pattern)
    return name == pattern
