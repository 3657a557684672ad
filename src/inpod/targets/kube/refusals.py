"""What the API server, or the way to it, says no with: turned into what the user can do about it. No I/O here."""

import json
import re
import ssl
from collections.abc import Iterator

from inpod.errors import ExitCode, UserError

_RBAC = re.compile(
    r'cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)"(?: in API group "[^"]*")?'
    r'(?: in the namespace "(?P<namespace>[^"]+)"| at the cluster scope)?'
)

_LIMITS = (
    (("must specify",), "A quota", "Have a LimitRange give containers without limits some"),
    (("exceeded quota",), "A quota", "Free some of it, ask for more of what is named"),
    (
        ("usage per Container", "usage per Pod", "to request ratio per"),
        "A LimitRange",
        "Ask for one that allows what is named",
    ),
)
"""Words of a refusal by a limit (Kubernetes' plugin/pkg/admission: resourcequota, limitranger), which limit, and a way out."""

MAX_WORDS = 400
"""Most characters quoted of what a server or program says."""


class ApiRefusal(Exception):
    """The API server answered with an error.

    Attributes:
        code: HTTP status.
        reason: Kubernetes' word for it: "NotFound", "Forbidden"; "" if unknown.
        message: The API server's own words, in one line.
        doing: What was asked of it: "get pods 'api'".
    """

    def __init__(self, code: int, reason: str, message: str, doing: str) -> None:
        super().__init__(f"{doing}: {code} {message}")
        self.code = code
        self.reason = reason
        self.message = one_line(message)
        self.doing = doing


def refusal(code: int, body: bytes, doing: str) -> ApiRefusal:
    """Return the refusal that an answer is, whether its body is a Kubernetes Status or a proxy's page."""
    try:
        raw = json.loads(body)
    except ValueError:
        raw = None
    if isinstance(raw, dict) and isinstance(raw.get("message"), str):
        return ApiRefusal(code, str(raw.get("reason", "")), raw["message"], doing)
    return ApiRefusal(code, "", body.decode("utf-8", "replace"), doing)


def explain(error: ApiRefusal, server: str) -> UserError:
    """Return what to tell the user about a refusal that is not expected."""
    if error.code == 401:
        return UserError(
            f"The API server at {server} does not accept your credentials (trying to {error.doing}).",
            hint="Log in to the cluster again, and try 'kubectl auth whoami'.",
            exit_code=ExitCode.CLUSTER_UNREACHABLE,
        )
    if error.code == 403:
        return forbidden(error.message, error.doing)
    return UserError(
        f"The API server at {server} refused to {error.doing}: {error.code} {error.message or error.reason}",
        hint="Those are its own words.",
        exit_code=ExitCode.CLUSTER_UNREACHABLE if error.code >= 500 or error.code == 429 else ExitCode.AGENT_START,
    )


def forbidden(message: str, doing: str) -> UserError:
    """Return what to tell about a 403: a right is missing, or admission (policies, quotas) refused the object."""
    if found := _RBAC.search(message):
        return missing_right(found["verb"], found["resource"], found["namespace"])
    if "because it is being terminated" in message:
        return UserError(
            f"The namespace is being deleted, and admits nothing: {message}",
            hint="Wait until it is gone and make it anew, or name another with -n.",
            exit_code=ExitCode.AGENT_START,
        )
    for words, what, way in _LIMITS:
        if any(each in message for each in words):
            return UserError(
                f"{what} does not allow the agent: {message}",
                hint=f"{way}, or use -e: an ephemeral container is not counted.",
                exit_code=ExitCode.AGENT_START,
            )
    return UserError(
        f"The cluster does not admit the agent ({doing}): {message}",
        hint="Those are the API server's own words. The agent needs a namespace that admits it (PodSecurity 'privileged').",
        exit_code=ExitCode.AGENT_START,
    )


def missing_right(verb: str, resource: str, namespace: str | None) -> UserError:
    """Return the error that names a right the user lacks."""
    return UserError(
        f"You have no right to {_right(verb, resource, namespace)}.",
        hint=f"Ask for a Role with the verb '{verb}' on '{resource}'; all that inpod needs is in docs/reference/rbac.md.",
        exit_code=ExitCode.NO_PERMISSION,
    )


def right_wanted(error: ApiRefusal) -> str | None:
    """Return the right that is missing, for people: "list pods in namespace 'shop'"; None: it is not for a right."""
    if error.code != 403:
        return None
    found = _RBAC.search(error.message)
    return _right(found["verb"], found["resource"], found["namespace"]) if found else error.doing


def _right(verb: str, resource: str, namespace: str | None) -> str:
    where = f"in namespace '{namespace}'" if namespace else "in the cluster"
    return f"{verb} {resource} {where}"


def unreachable(error: BaseException, server: str) -> UserError:
    """Return what to tell when no answer came at all."""
    texts = list(_texts(error))
    # An end in the middle is no word about certificates: what stands before the server had nobody to lead to.
    is_end = any("UNEXPECTED_EOF" in text for text in texts)
    tls = next((e for e in _chain(error) if isinstance(e, ssl.SSLError)), None)
    if not is_end and (tls or any("CERTIFICATE_VERIFY_FAILED" in t or "[SSL" in t for t in texts)):
        said = one_line(str(tls) if tls else texts[0])
        return UserError(
            f"TLS with the API server at {server} failed: {said}",
            hint="Check certificate-authority, tls-server-name and the client certificate in the kubeconfig.",
            exit_code=ExitCode.CLUSTER_UNREACHABLE,
        )
    said = "the connection was closed" if is_end else next((t for t in reversed(texts) if t), type(error).__name__)
    said = one_line(said)
    return UserError(
        f"The API server at {server} cannot be reached: {said}",
        hint="Check the network, VPN and proxy, and that 'kubectl version' answers.",
        exit_code=ExitCode.CLUSTER_UNREACHABLE,
    )


def one_line(text: str) -> str:
    """Return `text` in one line of bounded length."""
    joined = " ".join(text.split())
    return joined if len(joined) <= MAX_WORDS else joined[:MAX_WORDS] + "…"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _texts(error: BaseException) -> Iterator[str]:
    for each in _chain(error):
        if isinstance(each, TimeoutError) or "timed out" in str(each).lower():
            yield "no answer in time"
        yield str(each)
