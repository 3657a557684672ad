"""What a session may do in the target's namespace: the list behind docs/reference/rbac.md, and its check."""

from dataclasses import dataclass
from typing import Literal

from inpod.errors import ExitCode, UserError
from inpod.targets.kube.background import together
from inpod.targets.kube.cluster import Cluster
from inpod.targets.kube.objects import AccessReview
from inpod.targets.kube.refusals import ApiRefusal


@dataclass(frozen=True, slots=True)
class Right:
    """One verb on one resource.

    Attributes:
        resource: With its part, if any: "pods/portforward".
        needs_it: What of a session needs it; empty: all of them.
        is_checked: Whether nothing works without it. Of the others, one is for some versions only, the rest for messages.
    """

    verb: str
    group: str
    resource: str
    why: str
    needs_it: tuple[Literal["deployment", "job", "ephemeral"], ...] = ()
    is_checked: bool = True


RIGHTS = (
    Right("get", "", "pods", "read the target"),
    Right(
        "list",
        "",
        "pods",
        "find a deployment's pods, the agent's pod, who else is behind a Service",
        ("deployment", "job"),
    ),
    Right("get", "apps", "deployments", "read the target", ("deployment",)),
    Right("list", "apps", "deployments", "`inpod ls`, and names in hints", is_checked=False),
    Right("create", "batch", "jobs", "start the agent", ("job",)),
    Right("get", "batch", "jobs", "see why the agent does not start", ("job",)),
    Right("patch", "batch", "jobs", "renew the lease", ("job",)),
    Right("delete", "batch", "jobs", "end the agent", ("job",)),
    Right("patch", "", "pods/ephemeralcontainers", "start the agent in the target's pod", ("ephemeral",)),
    Right("get", "", "pods/portforward", "talk to the agent: a websocket is a GET"),
    Right("create", "", "pods/portforward", "the same; newer API servers ask for it too", is_checked=False),
    Right("list", "", "events", "say why the agent does not start", is_checked=False),
    Right("list", "", "services", "say whether a Service leads to the program's port", is_checked=False),
)


async def check_rights(cluster: Cluster, *, is_deployment: bool, is_ephemeral: bool) -> None:
    """Find out before anything is made whether all of it will be allowed.

    Raises:
        UserError: It will not; names each missing right.
    """
    what = {"ephemeral" if is_ephemeral else "job", *(("deployment",) if is_deployment else ())}
    needed = [right for right in RIGHTS if right.is_checked and (not right.needs_it or what & {*right.needs_it})]
    answers = await together(*(_is_allowed(cluster, right) for right in needed))
    missing = [right for right, is_allowed in zip(needed, answers, strict=True) if not is_allowed]
    if missing:
        names = ", ".join(f"{right.verb} {right.resource}" for right in missing)
        raise UserError(
            f"You have no right to {names} in namespace '{cluster.namespace}'.",
            hint="Ask for the Role in docs/reference/rbac.md.",
            exit_code=ExitCode.NO_PERMISSION,
        )


async def _is_allowed(cluster: Cluster, right: Right) -> bool:
    resource, _, subresource = right.resource.partition("/")
    attributes = {"namespace": cluster.namespace, "verb": right.verb, "group": right.group, "resource": resource}
    if subresource:
        attributes["subresource"] = subresource
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    try:
        answer = await cluster.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review, AccessReview)
    except ApiRefusal:
        # Who may not even ask gets to know when it matters.
        return True
    return answer.status.allowed


def role_yaml(*, is_ephemeral: bool) -> str:
    """Return the Role that grants what one kind of agent needs, as YAML: for docs and README."""
    name, other = ("inpod-ephemeral", "job") if is_ephemeral else ("inpod", "ephemeral")
    verbs: dict[tuple[str, str], list[str]] = {}
    for right in RIGHTS:
        if right.needs_it != (other,):
            verbs.setdefault((right.group, right.resource), []).append(right.verb)
    lines = ["apiVersion: rbac.authorization.k8s.io/v1", "kind: Role", f"metadata: {{name: {name}}}", "rules:"]
    for (group, resource), allowed in verbs.items():
        api = f'"{group}"'
        lines.append(f"- {{apiGroups: [{api}], resources: [{resource}], verbs: [{', '.join(allowed)}]}}")
    return "\n".join(lines) + "\n"
