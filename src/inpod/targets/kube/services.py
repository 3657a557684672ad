"""Which Services lead to a port of the target, and why others do not. Reading the cluster, and the judgement without I/O."""

from collections.abc import Mapping, Sequence

from inpod.errors import UserError
from inpod.protocol.agent import Address, IpProtocol
from inpod.targets.base import Lead, Leads
from inpod.targets.kube.cluster import Cluster
from inpod.targets.kube.objects import Listing, Service, ServicePort
from inpod.targets.kube.pod_objects import Pod
from inpod.targets.kube.refusals import ApiRefusal, right_wanted
from inpod.targets.kube.resolve import pods_path

HEADLESS = "None"

MAX_NAMED = 3
"""Services that are named although they have nothing to do with the pod."""


async def read_leads(cluster: Cluster, pod_name: str) -> Leads:
    """Read what there is; return what judges it for a port. What cannot be read leads to nothing, or to a hint."""
    namespace = cluster.namespace
    try:
        services = (await cluster.get(services_path(namespace), Listing[Service])).items
        # As it is by now: it may have become ready since it was chosen.
        pod = await cluster.get(pods_path(namespace, pod_name), Pod)
        behind = {
            service.metadata.name: (
                await cluster.get(pods_path(namespace), Listing[Pod], labelSelector=_query(service))
            ).items
            for service in services
            if selects(service, pod)
        }
    except ApiRefusal as error:
        if (wanted := right_wanted(error)) is None:
            return lambda port, protocol: []
        hint = f"whether a service leads here is not known: no right to {wanted}"
        return lambda port, protocol: [Lead(hint)]
    except UserError:
        return lambda port, protocol: []
    return lambda port, protocol: judge(services, pod, behind, port, protocol)


def services_path(kube_namespace: str) -> str:
    """Return the API's path of all Services."""
    return f"/api/v1/namespaces/{kube_namespace}/services"


def judge(
    services: Sequence[Service], pod: Pod, behind: Mapping[str, Sequence[Pod]], port: int, protocol: IpProtocol
) -> list[Lead]:
    """Return what is to be said of the Services of a namespace to who waits at a port of `pod`.

    Args:
        behind: All pods that a Service selects, by its name.
    """
    selecting = [service for service in services if selects(service, pod)]
    found = [
        lead for service in selecting for lead in _leading(service, pod, behind[service.metadata.name], port, protocol)
    ]
    if found:
        return found
    if selecting:
        return [Lead(_elsewhere(service, pod, port, protocol), "info") for service in selecting]
    near = [service for service in services if _is_near(service, pod)]
    if near:
        return [Lead(_not_selected(service, pod), "info") for service in near[:MAX_NAMED]]
    return [Lead("no service of the namespace leads here")]


def selects(service: Service, pod: Pod) -> bool:
    """Return whether a Service is for `pod`, ready or not. One without a selector is for what somebody else says."""
    selector = service.spec.selector
    return bool(selector) and selector.items() <= pod.metadata.labels.items()


def _leading(service: Service, pod: Pod, behind: Sequence[Pod], port: int, protocol: IpProtocol) -> list[Lead]:
    name = f"service/{service.metadata.name}"
    takes_unready = service.spec.publish_not_ready_addresses
    if service.spec.cluster_ip == HEADLESS:
        return [Lead(f"{name} is headless: who resolves its name may call any port of this pod")]
    found = []
    for each in _ports_of(service, protocol):
        if target_port(each, pod) != port:
            continue
        others = [
            other for other in behind if other.metadata.name != pod.metadata.name and (takes_unready or other.is_ready)
        ]
        if not (takes_unready or pod.is_ready):
            text = f"{name}:{each.port} does not lead here while the pod is not ready"
            found.append(Lead(text, "warning"))
        elif others:
            pods = (
                "1 other pod: what it gets does"
                if len(others) == 1
                else f"{len(others)} other pods: what they get does"
            )
            text = f"{name}:{each.port} leads here and to {pods} not come to this session"
            found.append(Lead(text, "info"))
        else:
            addresses = tuple(Address(ip, each.port) for ip in service.spec.addresses) if protocol == "tcp" else ()
            found.append(Lead(f"{name}:{each.port} leads here", addresses=addresses))
    return found


def target_port(of: ServicePort, pod: Pod) -> int | None:
    """Return the pod's port that a port of a Service leads to; None when the pod has none of that name."""
    wanted = of.target_port or of.port
    if isinstance(wanted, int):
        return wanted
    containers = [*pod.spec.containers, *(each for each in pod.spec.init_containers if each.restart_policy == "Always")]
    named = (port for container in containers for port in container.ports)
    return next((port.container_port for port in named if (port.name, port.protocol) == (wanted, of.protocol)), None)


def _ports_of(service: Service, protocol: IpProtocol) -> list[ServicePort]:
    return [each for each in service.spec.ports if each.protocol == protocol.upper()]


def _elsewhere(service: Service, pod: Pod, port: int, protocol: IpProtocol) -> str:
    def leads_to(each: ServicePort) -> str:
        found = target_port(each, pod)
        if found is None:
            return f"{each.port} to a port '{each.target_port}', which the pod does not name"
        return f"{each.port} to {found}"

    name = f"service/{service.metadata.name}"
    ports = ", ".join(map(leads_to, _ports_of(service, protocol)))
    what = "UDP port" if protocol == "udp" else "port"
    return f"{name} has no {what} that leads to {port}" + (f"; it leads {ports} (targetPort)" if ports else "")


def _is_near(service: Service, pod: Pod) -> bool:
    """Return whether a Service looks as if it were meant for `pod`: it shares a label or the name."""
    selector, name = service.spec.selector, service.metadata.name
    return bool(selector) and (
        bool(selector.items() & pod.metadata.labels.items()) or f"{pod.metadata.name}-".startswith(f"{name}-")
    )


def _not_selected(service: Service, pod: Pod) -> str:
    labels = pod.metadata.labels
    key, wanted = next(item for item in service.spec.selector.items() if item not in labels.items())
    has = f"has {key}={labels[key]}" if key in labels else f"has no label {key}"
    return f"service/{service.metadata.name} does not select this pod: it wants {key}={wanted}, the pod {has}"


def _query(service: Service) -> str:
    return ",".join(f"{key}={value}" for key, value in service.spec.selector.items())
