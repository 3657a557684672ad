"""A pod's IPv6 address in a real cluster: what comes in there, and what goes out to services and pods that have another."""

import json
import sys

import pytest

from tests.e2e.cluster import PORT, Namespace
from tests.e2e.kube import inpod_exec, wait_until_nothing_is_left
from tests.netns.test_filter import event
from tests.processes import end, next_line

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "orders6"},
    "spec": {"selector": {"app": "orders"}, "ipFamilies": ["IPv6"], "ports": [{"port": 80, "targetPort": PORT}]},
}
"""Has no IPv4 address, and its name no A record."""

PROGRAM = """
import errno, http.client, http.server, json, socket, sys
service, other, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
connection = http.client.HTTPConnection(service, timeout=20)
connection.request("GET", "/out")
body = connection.getresponse().read().decode().split()
print(*body, connection.sock.getsockname()[0], connection.sock.getpeername()[0], flush=True)
try:
    socket.create_connection((other, 9), timeout=20)
except OSError as error:
    print(errno.errorcode[error.errno], flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.path, self.client_address[0], self.connection.getsockname()[0], flush=True)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"program")
    def log_message(self, *args): pass
class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
server = Server(("::", port), Handler)
server.serve_forever()
"""

ASK = """
import http.client, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=20)
connection.connect()
own = connection.sock.getsockname()[0]
connection.request("GET", "/in")
print(connection.getresponse().read().decode().split()[0], own)
"""


def address_of(here: Namespace, app: str) -> str:
    """Return the IPv6 address of an app's pod."""
    addresses = [str(each["ip"]) for each in here.pod_of(app)["status"]["podIPs"]]
    found = next((address for address in addresses if ":" in address), None)
    if found is None:
        pytest.skip("the pods of this cluster have no IPv6 addresses")
    return found


@pytest.mark.parametrize("mode", ["mirror", "steal"])
@pytest.mark.parametrize("interceptor", ["layer", "tracer"])
def test_program_has_the_pods_ipv6(targets: Namespace, mode: str, interceptor: str) -> None:
    pod, client = address_of(targets, "web"), address_of(targets, "client")
    targets.kubectl("apply", "-f", "-", text=json.dumps(SERVICE))
    service = targets.get("services", "orders6")["spec"]["clusterIP"]
    options = ["--interceptor", interceptor, "--progress", "json", *(["--steal"] if mode == "steal" else [])]
    program = [sys.executable, "-c", PROGRAM, "orders6", client, str(PORT)]
    with inpod_exec(targets, "pod/web", options, program) as process:
        try:
            # Who answered saw the pod, and the program sees the pod's own address.
            name = targets.pod_of("orders")["metadata"]["name"]
            assert next_line(process.stdout) == f"original {name} /out {pod} {pod} {service}"
            assert next_line(process.stdout) == "ECONNREFUSED"
            event(process, "PortSubscribed")
            answered = "program" if mode == "steal" else "original"
            assert targets.inside("client", ASK, pod, str(PORT)) == f"{answered} {client}"
            assert next_line(process.stdout) == f"/in {client} {pod}"
        finally:
            end(process)
    wait_until_nothing_is_left(targets)
    assert targets.inside("client", ASK, pod, str(PORT)) == f"original {client}"
