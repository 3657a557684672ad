import json
import ssl

import pytest

from inpod.errors import ExitCode
from inpod.targets.kube.refusals import (
    MAX_WORDS,
    ApiRefusal,
    explain,
    forbidden,
    refusal,
    right_wanted,
    unreachable,
)

SERVER = "https://cluster:6443"


def status(code: int, message: str, reason: str = "Forbidden") -> bytes:
    return json.dumps({"kind": "Status", "code": code, "message": message, "reason": reason}).encode()


@pytest.mark.parametrize(
    ("message", "verb", "resource", "where"),
    [
        (
            'pods "api" is forbidden: User "dev" cannot get resource "pods" in API group "" in the namespace "shop"',
            "get",
            "pods",
            "in namespace 'shop'",
        ),
        (
            'pods "x" is forbidden: User "system:serviceaccount:a:b" cannot get resource "pods/portforward" in API group'
            ' "" in the namespace "shop"',
            "get",
            "pods/portforward",
            "in namespace 'shop'",
        ),
        (
            'jobs.batch is forbidden: User "dev" cannot create resource "jobs" in API group "batch" in the namespace '
            '"shop": RBAC: role.rbac.authorization.k8s.io "gone" not found',
            "create",
            "jobs",
            "in namespace 'shop'",
        ),
        (
            'namespaces is forbidden: User "dev" cannot list resource "namespaces" in API group "" at the cluster scope',
            "list",
            "namespaces",
            "in the cluster",
        ),
    ],
)
def test_missing_right_is_named_by_verb_resource_and_namespace(
    message: str, verb: str, resource: str, where: str
) -> None:
    refused = refusal(403, status(403, message), "get something")
    error = explain(refused, SERVER)
    assert error.message == f"You have no right to {verb} {resource} {where}."
    assert error.exit_code == ExitCode.NO_PERMISSION
    assert right_wanted(refused) == f"{verb} {resource} {where}"


def test_right_that_the_answer_does_not_name_is_what_was_asked() -> None:
    assert right_wanted(refusal(403, b"no", "get /api/v1/pods")) == "get /api/v1/pods"
    assert right_wanted(refusal(500, b"no", "get /api/v1/pods")) is None


def test_admission_is_told_in_the_servers_words() -> None:
    said = 'pods "inpod-agent-1" is forbidden: violates PodSecurity "restricted:latest": host namespaces (hostPID=true)'
    error = forbidden(said, "create the agent's pod")
    assert said in error.message
    assert "PodSecurity 'privileged'" in error.hint
    assert error.exit_code == ExitCode.AGENT_START


def test_quota_is_told_apart() -> None:
    said = 'pods "a" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1'
    error = forbidden(said, "create the agent's pod")
    assert error.message.startswith("A quota does not allow the agent:")
    assert error.exit_code == ExitCode.AGENT_START


@pytest.mark.parametrize(
    ("said", "what", "way"),
    [
        ("failed quota: rq: must specify limits.memory for: agent", "A quota", "Have a LimitRange give"),
        ("minimum memory usage per Container is 64Mi, but request is 32Mi", "A LimitRange", "or use -e"),
        (
            "unable to create new content in namespace shop because it is being terminated",
            "The namespace is being deleted",
            "another with -n",
        ),
    ],
)
def test_namespace_that_admits_no_agent_says_why_and_a_way_out(said: str, what: str, way: str) -> None:
    error = forbidden(f'pods "inpod-agent-1" is forbidden: {said}', "create the agent's pod")
    assert error.message.startswith(what)
    assert said in error.message
    assert way in error.hint
    assert error.exit_code == ExitCode.AGENT_START


def test_refused_credentials_are_unreachable_and_not_a_missing_right() -> None:
    error = explain(refusal(401, status(401, "Unauthorized", "Unauthorized"), "get /api"), SERVER)
    assert "does not accept your credentials" in error.message
    assert error.exit_code == ExitCode.CLUSTER_UNREACHABLE


@pytest.mark.parametrize(
    "body", [b"", b"<html>\n<b>Bad Gateway</b>" + b"x" * 9000, b"[]", b'{"message": 3}', b"\xff\xfe"]
)
def test_answer_of_something_else_is_quoted_in_one_bounded_line(body: bytes) -> None:
    error = explain(refusal(502, body, "get /api"), SERVER)
    assert "\n" not in error.message
    assert len(error.message) < MAX_WORDS + 200
    assert error.exit_code == ExitCode.CLUSTER_UNREACHABLE


def test_lost_ways_name_their_cause() -> None:
    tls = ConnectionError("no")
    tls.__cause__ = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")
    assert "self-signed certificate" in unreachable(tls, SERVER).message
    assert unreachable(tls, SERVER).message.startswith("TLS with the API server")
    ended = ConnectionError("no")
    ended.__cause__ = ssl.SSLEOFError(8, "[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol")
    assert unreachable(ended, SERVER).message.endswith("cannot be reached: the connection was closed")
    assert unreachable(TimeoutError(), SERVER).message.endswith("cannot be reached: no answer in time")
    assert unreachable(OSError(111, "Connection refused"), SERVER).message.endswith("[Errno 111] Connection refused")
    assert unreachable(ValueError(), SERVER).message.endswith("cannot be reached: ValueError")


def test_refusal_keeps_code_and_words() -> None:
    error = refusal(404, status(404, 'pods "x" not found', "NotFound"), "get pods")
    assert isinstance(error, ApiRefusal)
    assert (error.code, error.reason, error.message) == (404, "NotFound", 'pods "x" not found')
