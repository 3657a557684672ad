"""The built libraries themselves: what they ask of the machine, and of every program that has the layer."""

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import debian11
from tests.layer.conftest import is_root

PAGE = 4096

OLDEST_GLIBC = (2, 31)
"""Debian 11's."""


def dynamic_section(library: Path) -> str:
    """Return what the library says to ld.so."""
    return subprocess.run(["readelf", "-dVW", library], check=True, capture_output=True, text=True).stdout


def glibc_versions(library: Path) -> set[tuple[int, ...]]:
    """Return the versions of glibc that the library asks for."""
    return {tuple(map(int, found.split("."))) for found in re.findall(r"GLIBC_([0-9.]+)", dynamic_section(library))}


def test_the_layer_needs_libc_alone(layer: Path) -> None:
    """Every program pays for what the layer needs: libgcc_s.so, for what unwinds, costs more than the layer."""
    needed = re.findall(r"NEEDED.*\[(.*)\]", dynamic_section(layer))
    assert [name for name in needed if not name.startswith(("libc.so.", "ld-linux"))] == []


@pytest.mark.skipif(platform.machine() != "x86_64", reason="by Rust's own linker, which is not every platform's")
def test_a_start_touches_few_pages_of_the_layer(layer: Path) -> None:
    """Every program that is started writes what the library writes, and maps 64 KiB around what it touches of the rest."""
    said = subprocess.run(["readelf", "-SlW", layer], check=True, capture_output=True, text=True).stdout
    segments = re.findall(r"LOAD +\S+ +0x(\w+) +\S+ +\S+ +0x(\w+) +([RWE ]{3})", said)
    assert [rights for *_, rights in segments] == ["R E", "RW "]
    start, size, _ = segments[1]
    assert int(start, 16) % PAGE + int(size, 16) <= PAGE, "a page more to copy, and a system call more to map"
    place = {name: int(address, 16) for name, address in re.findall(r"\] (\.\S+) +\w+ +(\w+) ", said)}
    assert place[".text.startup"] < place[".eh_frame"] < place[".text"]


def test_nothing_in_the_layer_can_panic(layer: Path) -> None:
    """The handler of panics is linked as soon as the compiler sees that one may be called (layer/src/lib.rs)."""
    assert b"the layer has code that panics" not in layer.read_bytes(), (
        "A change brought code that may panic, for all that the compiler sees: an index, a Vec, core::fmt, a division. "
        "Use get(), checked_…() or iterators; `objdump -d` of an unstripped build shows who calls core::panicking."
    )


@pytest.mark.parametrize("name", ["libinpod_layer.so", "inpod-trace"])
def test_what_programs_get_runs_where_debian_11_runs(layer: Path, name: str) -> None:
    """Of any build. The other libraries are the session's; those of a release are looked at by `just wheel`."""
    versions = glibc_versions(layer.with_name(name))
    assert max(versions, default=(0,)) <= OLDEST_GLIBC


@pytest.mark.skipif(
    not is_root() or shutil.which("mmdebstrap") is None, reason="makes a root of Debian 11 to chroot into"
)
@pytest.mark.timeout(900)
def test_the_layer_works_in_programs_of_debian_11(layer: Path) -> None:
    root = debian11.root_with({layer.name: layer.read_bytes()})
    assert debian11.output_under_layer(root) == "the pod's\n" * 2
