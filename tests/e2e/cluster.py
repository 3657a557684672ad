"""How the tests talk to the cluster, and the target pods that they make."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.e2e.api import Api, serving

T = TypeVar("T")
PODS_READY_WITHIN_S = 60
SERVER = Path(__file__).parent.parent / "programs" / "pod_server.py"
PORT = 8080


@dataclass(frozen=True)
class Cluster:
    """A cluster by its kubeconfig.

    Attributes:
        image: Has Python 3.11; for target pods and the agent.
    """

    kubeconfig: str
    image: str
    api: Api

    @classmethod
    @contextlib.contextmanager
    def reached(cls, kubeconfig: str, image: str) -> "Iterator[Cluster]":
        """Return a cluster, whose API is served until the end of the block."""
        with serving(_kubectl(kubeconfig), kubeconfig) as api:
            yield cls(kubeconfig, image, api)

    def kubectl(self, *arguments: str, text: str | None = None, check: bool = True) -> str:
        """Run kubectl; return what it prints."""
        environment = dict(os.environ, KUBECONFIG=self.kubeconfig)
        done = subprocess.run(
            [_kubectl(self.kubeconfig), *arguments],
            input=text,
            env=environment,
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert not check or done.returncode == 0, f"kubectl {arguments}: {done.stderr}"
        return done.stdout


@dataclass(frozen=True)
class Namespace:
    """A namespace of one test module."""

    cluster: Cluster
    name: str

    def kubectl(self, *arguments: str, text: str | None = None, check: bool = True) -> str:
        """Run kubectl in it."""
        return self.cluster.kubectl("-n", self.name, *arguments, text=text, check=check)

    def get(self, kind: str, name: str = "", *, labels: str = "", fields: str = "") -> dict[str, Any]:
        """Return an object of it, or the list of those that selectors of labels and fields choose."""
        return self.cluster.api.get(self.name, kind, name, labelSelector=labels, fieldSelector=fields)

    def jobs(self) -> list[str]:
        """Return the names of the agents' Jobs that are there."""
        found = self.get("jobs", labels="app.kubernetes.io/managed-by=inpod")
        return [str(item["metadata"]["name"]) for item in found["items"]]

    def pod_of(self, app: str) -> dict[str, Any]:
        """Return a running pod of an app."""
        found = self.get("pods", labels=f"app={app}", fields="status.phase=Running")
        pod: dict[str, Any] = found["items"][0]
        return pod

    def inside(self, pod: str, code: str, *arguments: str) -> str:
        """Run Python code in a pod, which must succeed; return what it prints."""
        is_success, said, errors = self.try_inside(pod, code, *arguments)
        assert is_success, errors
        return said

    def try_inside(self, pod: str, code: str, *arguments: str) -> tuple[bool, str, str]:
        """Run Python code in a pod; return whether it succeeded, what it printed, and its errors."""
        is_success, said, errors = self.cluster.api.execute(self.name, pod, ["python3", "-c", code, *arguments])
        return is_success, said.strip(), errors


def _kubectl(kubeconfig: str) -> str:
    beside = Path(kubeconfig).with_name("kubectl")
    return str(beside) if beside.exists() else "kubectl"


def until(what: str, look: Callable[[], T], *, within_s: float = 30.0) -> T:
    """Return what `look` finds, as soon as it finds something.

    Raises:
        AssertionError: Not in time.
    """
    end = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < end, f"not within {within_s} s: {what}"
        time.sleep(0.1)
    return found


def apply_targets(namespace: Namespace) -> None:
    """Make the pod `web`, the deployment `api`, the private service `orders` and the pod `client`."""
    image = namespace.cluster.image
    server = json.dumps(SERVER.read_text())
    namespace.kubectl("apply", "-f", "-", text=_TARGETS.format(image=image, server=server, port=PORT))


def wait_for_targets(namespace: Namespace) -> None:
    """Wait until they serve."""
    for condition, *names in (("Ready", "pod/web", "pod/client"), ("Available", "deployment/api", "deployment/orders")):
        namespace.kubectl("wait", f"--for=condition={condition}", *names, f"--timeout={PODS_READY_WITHIN_S}s")


_CONTAINER = """
      - name: web
        image: {image}
        imagePullPolicy: IfNotPresent
        command: [python3, /code/pod_server.py, "{port}"]
        env: [{{name: GREETING, value: hello from the pod}}, {{name: TOKEN, valueFrom: {{secretKeyRef: {{name: keys, key: token}}}}}}]
        securityContext: {{runAsUser: 1000, runAsNonRoot: true, allowPrivilegeEscalation: false}}
        readinessProbe: {{tcpSocket: {{port: {port}}}, periodSeconds: 1}}
        volumeMounts:
        - {{name: code, mountPath: /code}}
        - {{name: settings, mountPath: /etc/app}}
        - {{name: keys, mountPath: /run/secrets/app}}
        - {{name: data, mountPath: /srv/data}}
      volumes:
      - {{name: code, configMap: {{name: code}}}}
      - {{name: settings, configMap: {{name: settings}}}}
      - {{name: keys, secret: {{secretName: keys}}}}
      - {{name: data, emptyDir: {{}}}}
      terminationGracePeriodSeconds: 0
"""

_POD_CONTAINER = _CONTAINER.replace("\n    ", "\n")

_TARGETS = (
    """
apiVersion: v1
kind: ConfigMap
metadata: {{name: code}}
data: {{pod_server.py: {server}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings}}
data: {{settings.txt: colour is green, more.txt: more}}
---
apiVersion: v1
kind: Secret
metadata: {{name: keys}}
stringData: {{token: not-for-logs}}
---
apiVersion: v1
kind: Pod
metadata: {{name: web, labels: {{app: web}}}}
spec:
  containers:"""
    + _POD_CONTAINER
    + """---
apiVersion: v1
kind: Pod
metadata: {{name: client, labels: {{app: client}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {{name: client, image: {image}, imagePullPolicy: IfNotPresent, command: [python3, -c, "import signal; signal.pause()"]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: api}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: api}}}}
  template:
    metadata: {{labels: {{app: api}}}}
    spec:
      containers:"""
    + _CONTAINER
    + """---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: orders}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: orders}}}}
  template:
    metadata: {{labels: {{app: orders}}}}
    spec:
      containers:"""
    + _CONTAINER
    + """---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: {port}}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: orders}}
spec: {{selector: {{app: orders}}, ports: [{{port: 80, targetPort: {port}}}]}}
"""
)
