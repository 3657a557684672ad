"""Counts the BPF links of a network namespace, by bpf(2)."""

import contextlib
import ctypes
import os
import struct

from inpod.agent.incoming.redirect import bpf

_GET_INFO, _LINK_GET_FD, _LINK_GET_NEXT = 15, 30, 31
_LINK_TYPE_NETNS = 5
_INFO = struct.Struct("=IIIxxxxII")  # type, link id, program id; network namespace's inode, attach type
_BPF = {"x86_64": 321}.get(os.uname().machine, 280)

_libc = ctypes.CDLL(None, use_errno=True)


def count_links(netns_inode: int) -> int:
    """Return how many links are attached to the network namespace."""
    found, link = 0, 0
    # The kernel writes the next id behind the one it was asked about.
    ids = ctypes.create_string_buffer(128)
    while True:
        struct.pack_into("=II", ids, 0, link, 0)
        if _libc.syscall(_BPF, _LINK_GET_NEXT, ids, len(ids)) < 0:
            return found
        link = struct.unpack_from("=II", ids)[1]
        with contextlib.suppress(FileNotFoundError):  # gone meanwhile
            found += _netns_inode(link) == netns_inode


def _netns_inode(link: int) -> int:
    fd = bpf.call(_LINK_GET_FD, bpf.attr_of(struct.pack("=I", link)))
    try:
        info = ctypes.create_string_buffer(256)
        bpf.call(_GET_INFO, bpf.attr_of(struct.pack("=IIQ", fd, len(info), ctypes.addressof(info))))
        kind, _, _, inode, _ = _INFO.unpack_from(info)
        return int(inode) if kind == _LINK_TYPE_NETNS else 0
    finally:
        os.close(fd)
