"""The parts of pods, and of deployments, that are read here (see `objects`)."""

import msgspec

from inpod.targets.kube.objects import Condition, Metadata, Struct


class VolumeMount(Struct):
    """Where a volume is mounted."""

    mount_path: str


class ContainerPort(Struct):
    """A port that has a name, perhaps."""

    container_port: int
    name: str = ""
    protocol: str = "TCP"


class HttpGet(Struct):
    """A probe by HTTP; the port may be a name."""

    port: int | str
    scheme: str = "HTTP"


class Grpc(Struct):
    """A probe by gRPC."""

    port: int


class Probe(Struct):
    """What the kubelet asks; other kinds do not count here."""

    http_get: HttpGet | None = None
    grpc: Grpc | None = None


class Container(Struct):
    """A container of a pod spec. Init containers that run on (sidecars) restart "Always"."""

    name: str
    restart_policy: str = ""
    volume_mounts: list[VolumeMount] = msgspec.field(default_factory=list)
    ports: list[ContainerPort] = msgspec.field(default_factory=list)
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    startup_probe: Probe | None = None

    def probe_ports(self) -> set[int]:
        """Return the ports that the kubelet asks by plain HTTP or gRPC."""
        names = {port.name: port.container_port for port in self.ports if port.name}
        found: set[int] = set()
        for probe in (self.liveness_probe, self.readiness_probe, self.startup_probe):
            if probe is not None and probe.grpc is not None:
                found.add(probe.grpc.port)
            if probe is not None and probe.http_get is not None and probe.http_get.scheme == "HTTP":
                port = probe.http_get.port
                found.add(port if isinstance(port, int) else names.get(port, 0))
        return found - {0}


class PodOs(Struct):
    """PodOS."""

    name: str = ""


class SecretReference(Struct):
    """LocalObjectReference."""

    name: str = ""


class PodSpec(Struct):
    """PodSpec."""

    containers: list[Container] = msgspec.field(default_factory=list)
    init_containers: list[Container] = msgspec.field(default_factory=list)
    node_name: str = ""
    host_network: bool = False
    os: PodOs | None = None
    image_pull_secrets: list[SecretReference] = msgspec.field(default_factory=list)
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def is_windows(self) -> bool:
        """Whether it says so: in its words for that, or by the node that it wants."""
        return "windows" in (self.os.name if self.os else "", self.node_selector.get("kubernetes.io/os"))


class Running(Struct):
    """The container runs."""


class Reason(Struct):
    """Why a container waits or ended."""

    reason: str = ""
    message: str = ""
    exit_code: int = 0


class ContainerState(Struct):
    """One of the three is there."""

    running: Running | None = None
    waiting: Reason | None = None
    terminated: Reason | None = None


class ContainerStatus(Struct):
    """ContainerStatus; `container_id` is "containerd://…"."""

    name: str
    ready: bool = False
    container_id: str = msgspec.field(default="", name="containerID")
    state: ContainerState = msgspec.field(default_factory=ContainerState)
    last_state: ContainerState = msgspec.field(default_factory=ContainerState)


class PodAddress(Struct):
    """PodIP."""

    ip: str = ""


class PodStatus(Struct):
    """PodStatus."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    pod_ips: list[PodAddress] = msgspec.field(default_factory=list, name="podIPs")
    conditions: list[Condition] = msgspec.field(default_factory=list)
    container_statuses: list[ContainerStatus] = msgspec.field(default_factory=list)
    init_container_statuses: list[ContainerStatus] = msgspec.field(default_factory=list)
    ephemeral_container_statuses: list[ContainerStatus] = msgspec.field(default_factory=list)


class Pod(Struct):
    """Pod."""

    metadata: Metadata
    spec: PodSpec
    status: PodStatus = msgspec.field(default_factory=PodStatus)

    @property
    def is_ready(self) -> bool:
        """Whether it runs, is ready and is not being deleted."""
        return (
            not self.metadata.deletion_timestamp
            and self.status.phase == "Running"
            and any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)
        )


class Requirement(Struct):
    """A set-based requirement of a label selector."""

    key: str
    operator: str
    values: list[str] = msgspec.field(default_factory=list)


class LabelSelector(Struct):
    """LabelSelector."""

    match_labels: dict[str, str] = msgspec.field(default_factory=dict)
    match_expressions: list[Requirement] = msgspec.field(default_factory=list)

    def query(self) -> str:
        """Return it as the API's query parameter `labelSelector`."""
        parts = [f"{key}={value}" for key, value in self.match_labels.items()]
        for need in self.match_expressions:
            match need.operator:
                case "In":
                    parts.append(f"{need.key} in ({','.join(need.values)})")
                case "NotIn":
                    parts.append(f"{need.key} notin ({','.join(need.values)})")
                case "Exists":
                    parts.append(need.key)
                case "DoesNotExist":
                    parts.append(f"!{need.key}")
        return ",".join(parts)


class PodTemplate(Struct):
    """PodTemplateSpec."""

    spec: PodSpec


class DeploymentSpec(Struct):
    """DeploymentSpec."""

    selector: LabelSelector
    template: PodTemplate
    replicas: int = 1


class DeploymentStatus(Struct):
    """DeploymentStatus."""

    ready_replicas: int = 0
    conditions: list[Condition] = msgspec.field(default_factory=list)


class Deployment(Struct):
    """Deployment."""

    metadata: Metadata
    spec: DeploymentSpec
    status: DeploymentStatus = msgspec.field(default_factory=DeploymentStatus)
