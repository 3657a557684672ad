"""Netty's resolver: its libraries."""

from tests.downloads import java_packages

VERSION = "4.1.115.Final"
PACKAGES = {
    "io/netty/netty-buffer": "4a7b331d3770c566ab70eb02a0d1feed63b95cf6e4d68c8fe778c4c9de2d116d",
    "io/netty/netty-codec": "cd189afb70ec6eacfcdfdd3a5f472b4e705a5c91d5bd3ef0386421f2ae15ec77",
    "io/netty/netty-codec-dns": "23dd6806bcc326855f13e69838c6411d0490e6b1aeb12e217a19a3dd6ad3f10d",
    "io/netty/netty-common": "39f1b5a2aaa4eab5d036dfd0486e35a4276df412e092d36b2d88b494705a134d",
    "io/netty/netty-handler": "5972028cc863b74927ce0d11fb8d58f65da2560bef5602fe8ce8903bd306ca07",
    "io/netty/netty-resolver": "7b3455d14f59828765a00573bc3967dc59379e874bd62a67eb1926d6512109d1",
    "io/netty/netty-resolver-dns": "4aca31593e5896c64ab7e041bbc6c0d851bd9634ec3a4354208141a35576619f",
    "io/netty/netty-transport": "c3d71faaa736ffd2c9260ab0b498024b814c39c7d764bea8113fa98de6e2bdd2",
    "io/netty/netty-transport-native-unix-common": "4b03e716272657c296b0204b57c140b2b2ca96b1a746c92da41f595892ec6d88",
}


def libraries() -> str:
    """Return the class path."""
    return java_packages("netty", VERSION, PACKAGES)
