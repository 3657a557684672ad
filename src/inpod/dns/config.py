"""What the target's /etc/resolv.conf and /etc/hosts say (resolv.conf(5), hosts(5)). No I/O here."""

import ipaddress
from functools import lru_cache
from typing import NamedTuple

MAX_NAMESERVERS = 3
MAX_NDOTS = 15
MAX_TIMEOUT_S = 30
MAX_ATTEMPTS = 5
"""Bounds as in glibc (resolv.h, RES_MAXNDOTS and the like)."""

MAX_SEARCH = 32
"""Search domains that count; glibc's own bound went with version 2.26."""


class ResolvConf(NamedTuple):
    """A resolv.conf with glibc's defaults."""

    nameservers: tuple[str, ...] = ("127.0.0.1",)
    search: tuple[bytes, ...] = ()
    ndots: int = 1
    timeout_s: int = 5
    attempts: int = 2
    use_tcp: bool = False


@lru_cache(maxsize=4)
def parse_resolv_conf(data: bytes) -> ResolvConf:
    """Return the settings; what is not understood is skipped, as libc does."""
    nameservers: list[str] = []
    search: tuple[bytes, ...] = ()
    options: list[bytes] = []
    for line in data.splitlines():
        words = line.split()
        match words:
            case [b"nameserver", address, *_] if is_address(text := address.decode("ascii", "replace")):
                nameservers.append(text)
            case [b"search", *domains]:
                search = tuple(d.lower() for d in domains[:MAX_SEARCH])
            case [b"domain", domain, *_]:
                search = (domain.lower(),)
            case [b"options", *given]:
                options += given
            case _:
                pass
    defaults = ResolvConf()
    return ResolvConf(
        nameservers=tuple(nameservers[:MAX_NAMESERVERS]) or defaults.nameservers,
        search=search,
        ndots=_number(options, b"ndots:", defaults.ndots, 0, MAX_NDOTS),
        timeout_s=_number(options, b"timeout:", defaults.timeout_s, 1, MAX_TIMEOUT_S),
        attempts=_number(options, b"attempts:", defaults.attempts, 1, MAX_ATTEMPTS),
        use_tcp=b"use-vc" in options,
    )


def find_in_hosts(data: bytes, name: bytes, versions: tuple[int, ...]) -> tuple[str, list[str]]:
    """Return the canonical name and the addresses of `name` in a hosts file, of the given IP versions, in order."""
    wanted = name.lower().removesuffix(b".")
    canonical = ""
    found: list[str] = []
    if wanted not in data.lower():
        return canonical, found  # most names are not there
    for line in data.splitlines():
        address, *names = line.partition(b"#")[0].split() or [b""]
        if wanted not in (n.lower() for n in names):
            continue
        text = address.decode("ascii", "replace")
        if is_address(text) and ipaddress.ip_address(text).version in versions and text not in found:
            found.append(text)
            canonical = canonical or names[0].decode("utf-8", "surrogateescape")
    return canonical, found


def find_name_in_hosts(data: bytes, ip: str) -> str:
    """Return the first name of an address in a hosts file, "" when it has none."""
    wanted = ipaddress.ip_address(ip)
    for line in data.splitlines():
        address, *names = line.partition(b"#")[0].split() or [b""]
        text = address.decode("ascii", "replace")
        if names and is_address(text) and ipaddress.ip_address(text) == wanted:
            return names[0].decode("utf-8", "surrogateescape")
    return ""


def candidates(name: bytes, conf: ResolvConf) -> list[bytes]:
    """Return the absolute names to try for `name`, in order (the search list's rules of resolv.conf(5))."""
    if name.endswith(b"."):
        return [name[:-1]]
    searched = [name + b"." + domain.strip(b".") if domain.strip(b".") else name for domain in conf.search]
    names = [name, *searched] if name.count(b".") >= conf.ndots else [*searched, name]
    return list(dict.fromkeys(names))


def is_address(text: str) -> bool:
    """Return whether `text` is a numeric IP address (IPv6 perhaps with a scope)."""
    if not (":" in text or text[-1:].isdigit()):
        return False  # a name, as is seen at a glance
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _number(options: list[bytes], name: bytes, default: int, least: int, most: int) -> int:
    for option in options:
        if option.startswith(name) and (digits := option[len(name) :]).isdigit():
            default = max(least, min(int(digits[:4]), most))
    return default
