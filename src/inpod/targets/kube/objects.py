"""The parts of Kubernetes objects that are read here, as msgspec decodes them from the API server's JSON."""

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Struct(msgspec.Struct, rename="camel", kw_only=True):
    """Fields in Python's spelling; what is not named is skipped."""


class Owner(Struct):
    """OwnerReference."""

    kind: str = ""
    name: str = ""
    controller: bool = False


class Metadata(Struct):
    """ObjectMeta."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    owner_references: list[Owner] = msgspec.field(default_factory=list)


class Listing(Struct, Generic[T]):
    """A list of any kind."""

    items: list[T] = msgspec.field(default_factory=list)


class Named(Struct):
    """An object of which only the name counts."""

    metadata: Metadata = msgspec.field(default_factory=Metadata)


class Condition(Struct):
    """A condition of a pod or job."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


class ServicePort(Struct):
    """ServicePort. The target port may be a name of the pod's; without one it is the same as `port`."""

    port: int
    protocol: str = "TCP"
    target_port: int | str = 0


class ServiceSpec(Struct):
    """ServiceSpec."""

    selector: dict[str, str] = msgspec.field(default_factory=dict)
    ports: list[ServicePort] = msgspec.field(default_factory=list)
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    cluster_ips: list[str] = msgspec.field(default_factory=list, name="clusterIPs")
    publish_not_ready_addresses: bool = False

    @property
    def addresses(self) -> list[str]:
        """Its virtual IP addresses."""
        return self.cluster_ips or [ip for ip in [self.cluster_ip] if ip]


class Service(Struct):
    """Service."""

    metadata: Metadata
    spec: ServiceSpec


class JobStatus(Struct):
    """JobStatus."""

    conditions: list[Condition] = msgspec.field(default_factory=list)


class JobSpec(Struct):
    """JobSpec."""

    active_deadline_seconds: int = 0


class Job(Struct):
    """Job."""

    metadata: Metadata
    spec: JobSpec = msgspec.field(default_factory=JobSpec)
    status: JobStatus = msgspec.field(default_factory=JobStatus)


class Event(Struct):
    """A core/v1 event, as kubelet and controllers write it."""

    metadata: Metadata
    type: str = ""
    reason: str = ""
    message: str = ""


class Status(Struct):
    """What the API server answers instead of the object."""

    message: str = ""
    reason: str = ""
    code: int = 0


class ReviewStatus(Struct):
    """SubjectAccessReviewStatus."""

    allowed: bool = False


class AccessReview(Struct):
    """SelfSubjectAccessReview."""

    status: ReviewStatus
