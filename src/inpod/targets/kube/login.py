"""Credentials for one cluster, as kr8s reads them from kubeconfigs, credential plugins or the pod inpod runs in."""

import asyncio
import contextlib
import json
import os
import ssl
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import yaml
from kr8s.asyncio import Api

from inpod.errors import ExitCode, UserError
from inpod.targets.kube.refusals import one_line

LOGIN_LIMIT_S = 30.0
"""Longest wait for a credential plugin, which may have to talk to a server of its own."""

CANCEL_EVERY_S = 0.1

T = TypeVar("T")

_IN_CLUSTER_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(slots=True)
class Login:
    """Credentials in use.

    Attributes:
        api: kr8s' client.
        kubeconfig: As asked for; None for $KUBECONFIG or the usual place.
        context: As asked for; None for the current one.
        tls: None for a server without TLS.
    """

    api: Api
    kubeconfig: str | None
    context: str | None
    namespace: str
    tls: ssl.SSLContext | None

    @property
    def server(self) -> str:
        """URL of the API server."""
        return str(self.api.auth.server).rstrip("/")

    def websocket_options(self) -> dict[str, Any]:
        """Return what `websockets.connect` needs besides the URL."""
        auth = self.api.auth
        # True: the proxy of the environment (HTTPS_PROXY, NO_PROXY), as httpx does for the other calls.
        options: dict[str, Any] = {"proxy": auth.proxy or True}
        if auth.token:
            options["additional_headers"] = {"Authorization": f"Bearer {auth.token}"}
        if self.tls is not None:
            options["ssl"] = self.tls
            if auth.tls_server_name:
                options["server_hostname"] = auth.tls_server_name
        return options

    async def close(self) -> None:
        """Close the connections."""
        session = self.api._session  # kr8s has no way to close a client
        if session is not None:
            with contextlib.suppress(OSError, RuntimeError):
                await session.aclose()


async def log_in(kubeconfig: str | None, context: str | None) -> Login:
    """Read the kubeconfig, and get credentials.

    Raises:
        UserError: There is none, it has no such context or no URL of a server, or the credential plugin failed.
    """
    # Not kr8s.asyncio.api(): that asks for the server's version, without a time limit, and warns on stderr about it.
    # With a namespace, or it would look for that of the current context, which need not be there.
    api = Api(bypass_factory=True, kubeconfig=kubeconfig, context=context, namespace="default" if context else None)
    try:
        tls = await _within(LOGIN_LIMIT_S, _prepare(api, kubeconfig))
    except TimeoutError as error:
        raise _plugin_failed(f"no answer within {LOGIN_LIMIT_S:.0f} s") from error
    except RuntimeError as error:
        raise _plugin_failed(str(error)) from error
    except FileNotFoundError as error:
        raise _file_missing(api, error) from error
    except json.JSONDecodeError as error:
        raise _plugin_failed("it did not print an ExecCredential") from error
    except ValueError as error:
        raise (
            _wrong_server(api, kubeconfig) or _no_context(api, context) or _broken(None, one_line(str(error)))
        ) from error
    except ssl.SSLError as error:
        raise _broken(kubeconfig, f"its certificates cannot be read: {error}") from error
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        if _plugin(api):
            raise _plugin_failed("it did not print an ExecCredential with a token or certificate") from error
        raise (
            _wrong_server(api, kubeconfig)
            or _no_context(api, context)
            or _broken(kubeconfig, "it is empty, or lacks clusters, contexts or users")
        ) from error
    except (OSError, yaml.YAMLError) as error:
        raise _broken(kubeconfig, one_line(str(error))) from error
    finally:
        _delete_key_files(api)
    return Login(api, kubeconfig, context, _namespace(api), tls)


async def _prepare(api: Api, kubeconfig: str | None) -> ssl.SSLContext | None:
    """Get credentials into `api`; return its TLS context, None for a server without TLS."""
    await api.auth.reauthenticate()
    if wrong := _wrong_server(api, kubeconfig):
        raise wrong
    tls: ssl.SSLContext | bool = await api.auth.ssl_context()  # type: ignore[no-untyped-call]  # kr8s annotates all but this
    # Else the first calls, made at the same time, would each make a session and lose all but one.
    await api._create_session()
    if not str(api.auth.server).startswith("https:"):
        return None
    return tls if isinstance(tls, ssl.SSLContext) else ssl.create_default_context()


async def _within(limit_s: float, work: Coroutine[None, None, T]) -> T:
    """Return what `work` returns, which ends with our wait for it.

    Raises:
        TimeoutError: It takes longer.
    """
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait([working], timeout=limit_s)
        if not working.done():
            raise TimeoutError
        return working.result()
    finally:
        # kr8s has a plugin run by anyio, which waits for it when it is cancelled, and kills it when cancelled again.
        while not working.done():
            working.cancel()
            await asyncio.wait([working], timeout=CANCEL_EVERY_S)
        if not working.cancelled():
            working.exception()  # else asyncio says that nobody looked at it


def _namespace(api: Api) -> str:
    """Return the namespace of the context. kr8s takes the current context's, also when another is asked for."""
    auth = api.auth
    if auth.active_context:
        return str(auth.kubeconfig.get_context(auth.active_context).get("namespace") or "default")
    with contextlib.suppress(OSError):
        return _IN_CLUSTER_NAMESPACE.read_text().strip() or "default"
    return "default"


def _delete_key_files(api: Api) -> None:
    """Delete what kr8s wrote to make TLS read keys that are in the kubeconfig or came from a plugin; they have been read."""
    auth = api.auth
    # After a failure nothing may be set; then nothing was written.
    made = {f for f in (auth.client_key_file, auth.client_cert_file, auth.server_ca_file) if isinstance(f, str)}
    # Not one that the user wrote down, nor one that has other uses.
    if made and (config := getattr(auth, "kubeconfig", None)) is not None:
        for entry in [*config.users, *config.clusters]:
            for part in entry.values():
                if isinstance(part, dict):
                    made -= {value for value in part.values() if isinstance(value, str)}
    folder = Path(tempfile.gettempdir())
    for path in map(Path, made):
        if path.parent == folder:
            path.unlink(missing_ok=True)


def _wrong_server(api: Api, kubeconfig: str | None) -> UserError | None:
    """Return what is wrong with the server's URL in the kubeconfig, None for nothing or where there is no kubeconfig."""
    try:
        config = api.auth.kubeconfig
        name = config.get_context(api.auth.active_context)["cluster"]
        server = config.get_cluster(name).get("server")
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    with contextlib.suppress(ValueError):
        url = urlsplit(server if isinstance(server, str) else "")
        # Asking for the port checks it.
        if url.scheme in ("http", "https") and url.hostname and " " not in url.netloc and url.port != 0:
            return None
    found = "is missing" if server is None else f"cannot be '{server}'"
    return _broken(
        kubeconfig,
        f"the server of its cluster '{name}' {found}.",
        hint="Write it as https://HOST:PORT, under 'clusters'.",
    )


def _plugin_failed(said: str) -> UserError:
    return UserError(
        f"The kubeconfig's credential plugin failed: {one_line(said)}",
        hint="Run the command of 'users.user.exec' in the kubeconfig by hand, or log in to the cluster again.",
        exit_code=ExitCode.CLUSTER_UNREACHABLE,
    )


def _file_missing(api: Api, error: FileNotFoundError) -> UserError:
    plugin = _plugin(api)
    command = str(plugin.get("command", ""))
    if command and (error.filename is None or error.filename == command):
        hint = one_line(str(plugin.get("installHint", "")))
        return _plugin_failed(f"there is no command '{command}'" + (f" ({hint})" if hint else ""))
    return _broken(None, f"'{error.filename}' is not there")


def _plugin(api: Api) -> dict[str, Any]:
    """Return the credential plugin of the user of the context; empty where there is none."""
    with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):
        auth = api.auth
        user = auth.kubeconfig.get_user(auth.kubeconfig.get_context(auth.active_context)["user"])
        return dict(user["exec"])
    return {}


def _no_context(api: Api, context: str | None) -> UserError | None:
    """Return what is missing on the way to a context, None for nothing."""
    # It is set as soon as a file was read.
    found = getattr(api.auth, "kubeconfig", None)
    if found is None:
        files = os.environ.get("KUBECONFIG") or "~/.kube/config"
        return UserError(
            f"There is no kubeconfig at {files}.",
            hint="Set KUBECONFIG, or use a target that needs no cluster: pid/PID, netns/NAME.",
            exit_code=ExitCode.CLUSTER_UNREACHABLE,
        )
    try:
        names = sorted(str(entry["name"]) for entry in found.contexts)
        # Of the first file: kr8s looks no further.
        wanted = context or found._configs[0].raw.get("current-context")
    except (AttributeError, KeyError, TypeError):
        return None
    if not names:
        return None
    if not wanted:
        return UserError(
            "The kubeconfig has no current context.",
            hint=f"Choose one with --context, or by 'kubectl config use-context': {', '.join(names)}.",
            exit_code=ExitCode.TARGET_NOT_FOUND,
        )
    if wanted not in names:
        return UserError(
            f"There is no context '{wanted}' in the kubeconfig.",
            hint=f"It has: {', '.join(names)}.",
            exit_code=ExitCode.TARGET_NOT_FOUND,
        )
    return None


def _broken(kubeconfig: str | None, why: str, *, hint: str = "Check it with 'kubectl config view'.") -> UserError:
    files = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    return UserError(
        f"The kubeconfig ({files}) cannot be used: {why}",
        hint=hint,
        exit_code=ExitCode.CLUSTER_UNREACHABLE,
    )
