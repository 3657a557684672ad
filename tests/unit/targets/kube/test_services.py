from typing import Any

import msgspec
import pytest

from inpod.protocol.agent import Address
from inpod.targets.base import Lead
from inpod.targets.kube.objects import Service
from inpod.targets.kube.pod_objects import Pod
from inpod.targets.kube.services import judge
from tests.unit.targets.kube.test_resolve import make_pod

PORT = 8080


def make_service(name: str = "api", **spec: Any) -> Service:
    spec = {"selector": {"app": "api"}, "clusterIP": "10.96.0.9", "ports": [{"port": 80, "targetPort": PORT}], **spec}
    return msgspec.convert({"metadata": {"name": name}, "spec": spec}, Service)


def make_labelled(name: str = "api-7d9-x", *, is_ready: bool = True, **changes: object) -> Pod:
    ready = [{"type": "Ready", "status": "True" if is_ready else "False"}]
    return make_pod(name, metadata__labels={"app": "api", "rev": "7d9"}, status__conditions=ready, **changes)


def leads(*services: Service, pod: Pod | None = None, others: int = 0, protocol: Any = "tcp") -> list[Lead]:
    pod = pod or make_labelled()
    behind = [pod, *(make_labelled(f"api-{number}") for number in range(others)), make_labelled("sick", is_ready=False)]
    return judge(services, pod, {service.metadata.name: behind for service in services}, PORT, protocol)


def test_service_for_this_pod_alone_can_be_tried() -> None:
    assert leads(make_service()) == [Lead("service/api:80 leads here", addresses=(Address("10.96.0.9", 80),))]


def test_every_address_of_a_dual_service_is_tried() -> None:
    (lead,) = leads(make_service(clusterIPs=["10.96.0.9", "fd00::9"]))
    assert [address.ip for address in lead.addresses] == ["10.96.0.9", "fd00::9"]


def test_service_for_others_too_is_not_tried() -> None:
    (lead,) = leads(make_service(), others=2)
    assert lead.text.startswith("service/api:80 leads here and to 2 other pods:")
    assert (lead.level, lead.addresses) == ("info", ())


def test_target_port_is_the_services_own_if_none_is_named() -> None:
    assert leads(make_service(ports=[{"port": PORT}]))[0].text == f"service/api:{PORT} leads here"


def test_named_target_port_is_looked_for_in_containers_and_sidecars() -> None:
    def port(number: int, **more: str) -> dict[str, object]:
        return {"containerPort": number, "name": "http", **more}

    pod = make_labelled(
        spec__containers=[{"name": "web", "ports": [port(9, protocol="UDP")]}],
        spec__initContainers=[
            {"name": "setup", "ports": [port(1)]},
            {"name": "proxy", "restartPolicy": "Always", "ports": [port(PORT)]},
        ],
    )
    service = make_service(ports=[{"port": 80, "targetPort": "http"}])
    assert leads(service, pod=pod)[0].text == "service/api:80 leads here"


def test_services_that_lead_elsewhere_are_told_only_if_none_leads_here() -> None:
    elsewhere = make_service("metrics", ports=[{"port": 90, "targetPort": 9090}, {"port": 91, "targetPort": "web"}])
    assert [lead.text for lead in leads(elsewhere, make_service())] == ["service/api:80 leads here"]
    (lead,) = leads(elsewhere)
    assert lead.level == "info"
    assert lead.text == (
        "service/metrics has no port that leads to 8080; "
        "it leads 90 to 9090, 91 to a port 'web', which the pod does not name (targetPort)"
    )


def test_protocols_are_told_apart() -> None:
    assert leads(make_service(), protocol="udp")[0].text == "service/api has no UDP port that leads to 8080"
    (lead,) = leads(make_service(ports=[{"port": 53, "targetPort": PORT, "protocol": "UDP"}]), protocol="udp")
    assert lead == Lead("service/api:53 leads here")


def test_pod_that_is_not_ready_gets_nothing() -> None:
    (lead,) = leads(make_service(), pod=make_labelled(is_ready=False))
    assert lead == Lead("service/api:80 does not lead here while the pod is not ready", "warning")
    (lead,) = leads(make_service(publishNotReadyAddresses=True), pod=make_labelled("sick", is_ready=False))
    assert lead.addresses


def test_headless_service_leads_to_any_port() -> None:
    (lead,) = leads(make_service(clusterIP="None"), others=2)
    assert lead == Lead("service/api is headless: who resolves its name may call any port of this pod")


@pytest.mark.parametrize(
    ("selector", "why"),
    [
        ({"app": "api", "rev": "8e1"}, "it wants rev=8e1, the pod has rev=7d9"),
        ({"app": "api", "role": "main"}, "it wants role=main, the pod has no label role"),
        ({"run": "api"}, "it wants run=api, the pod has no label run"),
    ],
)
def test_service_that_seems_to_be_meant_is_told_with_its_label(selector: dict[str, str], why: str) -> None:
    stranger = make_service("db", selector={"app": "db"})
    assert leads(stranger, make_service(selector=selector)) == [
        Lead(f"service/api does not select this pod: {why}", "info")
    ]


def test_strangers_are_not_named() -> None:
    strangers = [make_service("db", selector={"app": "db"}), make_service("by-hand", selector={})]
    assert leads(*strangers) == [Lead("no service of the namespace leads here")]
