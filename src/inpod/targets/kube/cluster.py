"""One cluster, by the credentials of a kubeconfig context or of the pod inpod runs in; REST by kr8s.

kr8s finds and merges kubeconfigs, runs exec credential plugins, and sets TLS and proxies up. Around it (see
docs/decisions/0001): files it writes client keys to are deleted once they are read, a 403 is an answer and not a reason
to log in again, an API server that is too busy is asked again when it says so, and while a start runs also one that does not
answer; every call has a time limit. So whatever is asked of it must be such that it may be done twice.
"""

import asyncio
import json
import re
from types import TracebackType
from typing import Any, TypeVar

import httpx
import msgspec
from kr8s import APITimeoutError

from inpod.errors import ExitCode, UserError
from inpod.targets.kube.login import Login, log_in
from inpod.targets.kube.patience import Patience
from inpod.targets.kube.refusals import explain, refusal, unreachable

ANSWER_LIMIT_S = 10.0
"""Longest wait for an answer of the API server."""

CONNECT_LIMIT_S = 5.0

BUSY_LIMIT_S = 15.0
"""How long an API server may send a call away and name a time to come again (Retry-After), or fail over it (500)."""

_VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete"}

_AWAY = (502, 503, 504)
"""What stands before an API server answers so when that is away."""

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""RFC 1123 label."""

T = TypeVar("T")


class Cluster:
    """A logged-in client. Use it as a context manager.

    Attributes:
        namespace: The one asked for, else the context's, else "default".
        server: URL of the API server.
        login: The credentials of the moment.
        patience: With a server that does not answer.
    """

    def __init__(self, login: Login, namespace: str | None) -> None:
        self.login = login
        self.patience = Patience()
        self._last: Login | None = None
        self._renewing = asyncio.Lock()
        self.namespace = namespace or login.namespace
        self.server = login.server

    @classmethod
    async def connect(
        cls, *, kubeconfig: str | None = None, context: str | None = None, namespace: str | None = None
    ) -> "Cluster":
        """Read the kubeconfig and get credentials; the API server is not asked yet.

        Raises:
            UserError: No kubeconfig, no such context, or the credential plugin failed.
        """
        if namespace is not None and not _NAMESPACE.fullmatch(namespace):
            raise UserError(
                f"'{namespace}' cannot be a namespace's name.",
                hint="Such names consist of a-z, 0-9 and '-': see 'kubectl get namespaces'.",
            )
        return cls(await log_in(kubeconfig, context), namespace)

    async def __aenter__(self) -> "Cluster":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        for login in (self.login, self._last):
            if login is not None:
                await login.close()

    async def get(self, path: str, kind: type[T], **query: str) -> T:
        """Return the object or list at `path`.

        Raises:
            ApiRefusal: The API server answered with an error.
            UserError: It did not answer, or not in its language.
        """
        return self._decode(await self._request("GET", path, query=query), kind)

    async def create(self, path: str, manifest: dict[str, Any], kind: type[T]) -> T:
        """Create an object; raises as `get`."""
        return self._decode(await self._request("POST", path, body=manifest), kind)

    async def patch(self, path: str, change: dict[str, Any], *, strategic: bool = False) -> None:
        """Merge `change` into an object; raises as `get`.

        Args:
            strategic: Lists of named things get what is new in them, instead of being replaced.
        """
        kind = "strategic-merge-patch" if strategic else "merge-patch"
        await self._request("PATCH", path, body=change, content_type=f"application/{kind}+json")

    async def delete(self, path: str, options: dict[str, Any]) -> None:
        """Delete an object; raises as `get`."""
        await self._request("DELETE", path, body=options)

    async def renew_login(self, refused: Login) -> None:
        """Get new credentials, because `refused` have expired; those that are there by now will do.

        Raises:
            UserError: As `connect`.
        """
        async with self._renewing:
            if self.login is refused:
                self.login = await log_in(refused.kubeconfig, refused.context)
                # Calls may still be under way by the old one; those by the one before it have long ended.
                if self._last is not None:
                    await self._last.close()
                self._last = refused

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        clock = asyncio.get_running_loop().time
        busy_until, has_renewed = clock() + BUSY_LIMIT_S, False
        while True:
            login = self.login
            try:
                code, answer, again_s = await self._send(login, method, path, query, body, content_type)
            except UserError as error:
                if not self.patience.is_left:
                    raise
                await self.patience.rest(error)
                continue
            if code < 500:
                self.patience.answered()
            if code < 400:
                return answer
            refused = refusal(code, answer, f"{_VERBS[method]} {path}")
            # Credentials that a plugin makes live for minutes only; new ones that are refused too are wrong.
            if code == 401 and not has_renewed:
                await self.renew_login(login)
                has_renewed = True
            elif again_s is not None and clock() + again_s < busy_until:
                await asyncio.sleep(again_s)
            elif (code in _AWAY or (code >= 500 and clock() < busy_until)) and self.patience.is_left:
                await self.patience.rest(explain(refused, self.server))
            else:
                raise explain(refused, self.server) if code == 401 else refused

    async def _send(
        self,
        login: Login,
        method: str,
        path: str,
        query: dict[str, str] | None,
        body: dict[str, Any] | None,
        content_type: str,
    ) -> tuple[int, bytes, float | None]:
        """Return status and body of an answer, and in how many seconds to ask again, where that helps."""
        base, _, rest = path.strip("/").partition("/")
        try:
            async with login.api.call_api(
                method,
                base=f"/{base}",
                version="",
                url=rest,
                raise_for_status=False,
                params=query or None,
                content=None if body is None else json.dumps(body).encode(),
                headers={"content-type": content_type},
                timeout=httpx.Timeout(ANSWER_LIMIT_S, connect=CONNECT_LIMIT_S),
            ) as response:
                code = response.status_code
                return code, response.content, _again_s(code, response.headers.get("retry-after", ""))
        except APITimeoutError as error:
            raise unreachable(TimeoutError(), self.server) from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise unreachable(error, self.server) from error

    def _decode(self, data: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.DecodeError as error:
            raise UserError(
                f"What answers at {self.server} is no Kubernetes API server: {error}",
                hint="Check the server's address in the kubeconfig, and the proxy.",
                exit_code=ExitCode.CLUSTER_UNREACHABLE,
            ) from error


def _again_s(code: int, after: str) -> float | None:
    """Return the seconds that a server wants to be left alone, None: it has answered.

    Args:
        code: With 429 and those from 500 on, it did nothing of what was asked (as client-go takes it).
        after: Its Retry-After; one that is a date comes from none of Kubernetes' servers.
    """
    is_busy = code == 429 or code >= 500
    return float(after) if is_busy and after.isascii() and after.isdecimal() else None
