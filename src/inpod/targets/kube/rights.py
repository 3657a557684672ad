"""What a session may do in the target's namespace: the list behind docs/reference/rbac.md, and its check."""

from dataclasses import dataclass

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
        is_checked: Whether nothing works without it. Of the others, one is for some versions only, the rest for messages.
    """

    verb: str
    group: str
    resource: str
    why: str
    is_checked: bool = True


RIGHTS = (
    Right("get", "", "pods", "read the target"),
    Right("list", "", "pods", "find a deployment's pods and the agent's pod"),
    Right("get", "apps", "deployments", "read the target"),
    Right("list", "apps", "deployments", "`inpod ls`, and names in hints", is_checked=False),
    Right("create", "batch", "jobs", "start the agent"),
    Right("get", "batch", "jobs", "see why the agent does not start"),
    Right("patch", "batch", "jobs", "renew the lease"),
    Right("delete", "batch", "jobs", "end the agent"),
    Right("get", "", "pods/portforward", "talk to the agent: a websocket is a GET"),
    Right("create", "", "pods/portforward", "the same; newer API servers ask for it too", is_checked=False),
    Right("list", "", "events", "say why the agent does not start", is_checked=False),
    Right("list", "", "services", "say whether a Service leads to the program's port", is_checked=False),
)


async def check_rights(cluster: Cluster, *, is_deployment: bool) -> None:
    """Find out before anything is made whether all of it will be allowed.

    Raises:
        UserError: It will not; names each missing right.
    """
    needed = [r for r in RIGHTS if r.is_checked and (is_deployment or r.resource != "deployments")]
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


def role_yaml(name: str = "inpod") -> str:
    """Return the Role that grants all of `RIGHTS`, as YAML: for docs and README."""
    verbs: dict[tuple[str, str], list[str]] = {}
    for right in RIGHTS:
        verbs.setdefault((right.group, right.resource), []).append(right.verb)
    lines = ["apiVersion: rbac.authorization.k8s.io/v1", "kind: Role", f"metadata: {{name: {name}}}", "rules:"]
    for (group, resource), allowed in verbs.items():
        api = f'"{group}"'
        lines.append(f"- {{apiGroups: [{api}], resources: [{resource}], verbs: [{', '.join(allowed)}]}}")
    return "\n".join(lines) + "\n"
