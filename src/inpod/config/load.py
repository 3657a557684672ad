"""Where values come from: the command line, then the file, then the defaults."""

import contextlib
import os
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from inpod.config.agent import image_name
from inpod.config.env import EnvFilter, as_filter
from inpod.config.files import FilesMode, Trees, file_trees, files_mode
from inpod.config.forms import decode, is_json
from inpod.config.http_filter import HttpFilter
from inpod.config.incoming import Incoming, IncomingMode, OnConcurrentSteal, Ports, incoming_mode, incoming_ports
from inpod.config.mistakes import invalid, missing
from inpod.config.outgoing import Way, outgoing_way
from inpod.config.processes import BUILD_TOOLS, skipped_names
from inpod.config.schema import File, Interceptor, network_of
from inpod.config.sift import sift
from inpod.config.target import as_target
from inpod.config.template import Values, has_templates, names_key, render
from inpod.errors import UserError

MAX_FILE_BYTES = 1024 * 1024


class Options(NamedTuple):
    """What the command line says. None: nothing."""

    target: str | None = None
    namespace: str | None = None
    context: str | None = None
    image: str | None = None
    startup_timeout_s: float | None = None
    steal: bool = False
    files: str | None = None
    env_include: str | None = None
    env_exclude: str | None = None
    env_file: Path | None = None
    interceptor: Interceptor | None = None
    skip_processes: str | None = None
    outgoing_tcp: bool = True
    outgoing_udp: bool = True
    remote_names: bool = True
    is_ephemeral: bool = False


class Settings(NamedTuple):
    """What a run of `inpod exec` is to do, from all sources. None: not said anywhere."""

    target: str | None = None
    namespace: str | None = None
    context: str | None = None
    image: str | None = None
    startup_timeout_s: float | None = None
    incoming: IncomingMode = "mirror"
    files: FilesMode = "read"
    env: EnvFilter = EnvFilter()
    ports: Ports = Ports()
    http_filter: HttpFilter | None = None
    on_conflict: OnConcurrentSteal = "abort"
    flush: bool = True
    steals_probes: bool = False
    redirect: Literal["auto", "sk_lookup", "nftables"] = "auto"
    interceptor: Interceptor = "auto"
    way: Way = Way()
    hostname: bool = True
    skipped: tuple[str, ...] = BUILD_TOOLS
    is_ephemeral: bool = False
    trees: Trees = Trees()


class Content(NamedTuple):
    """What a configuration file says.

    Attributes:
        file: Its keys.
        aside: Keys of mirrord's, by their full names, that inpod does without.
        names_key: Whether `{{ key }}` is in it.
    """

    file: File = File()
    aside: tuple[str, ...] = ()
    names_key: bool = False


def settings(options: Options, file: File) -> Settings:
    """Return the settings: the command line before the file.

    Raises:
        UserError: A value that is not there (yet), or two that exclude each other.
    """
    target = as_target(file.target)
    network = network_of(file.feature.network)
    incoming = network.incoming
    return Settings(
        target=options.target or target.path,
        namespace=options.namespace or target.namespace,
        context=options.context or file.kube_context,
        image=options.image or image_name(file.agent.image),
        is_ephemeral=options.is_ephemeral or file.agent.ephemeral,
        startup_timeout_s=options.startup_timeout_s or file.agent.startup_timeout,
        incoming="steal" if options.steal else incoming_mode(incoming),
        ports=incoming_ports(incoming),
        http_filter=incoming.http_filter if isinstance(incoming, Incoming) else None,
        redirect=file.agent.redirect,
        flush=file.agent.flush_connections,
        steals_probes=isinstance(incoming, Incoming) and incoming.steal_probes,
        on_conflict=incoming.on_concurrent_steal if isinstance(incoming, Incoming) else "abort",
        trees=file_trees(file.feature.fs),
        files=files_mode(file.feature.fs if options.files is None else options.files),
        env=as_filter(
            file.feature.env, include=options.env_include, exclude=options.env_exclude, file=options.env_file
        ),
        interceptor=options.interceptor or file.interceptor,
        hostname=file.feature.hostname,
        skipped=skipped_names(
            options.skip_processes or file.skip_processes,
            file.skip_extra_build_tools,
            build_tools=file.skip_build_tools,
        ),
        way=outgoing_way(
            network.outgoing,
            network.dns,
            tcp=options.outgoing_tcp,
            udp=options.outgoing_udp,
            names=options.remote_names,
        ),
    )


def read(path: Path | None, key: str | None = None) -> Content:
    """Return the content of a configuration file, the defaults without one.

    Args:
        key: What `{{ key }}` stands for; None: what the file says.

    Raises:
        UserError: The file is not there, is not in its form, or has something that inpod does not know; with the place.
    """
    if path is None:
        return Content()
    try:
        with path.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise UserError(
            f"Cannot read the configuration {path}: {error.strerror}.", hint="Check the path after -f."
        ) from None
    if len(content) > MAX_FILE_BYTES:
        raise UserError(
            f"The configuration {path} has more than {MAX_FILE_BYTES // 1024} KiB.", hint="Check the path after -f."
        )
    return parse(content, str(path), key)


def parse(content: bytes, name: str, key: str | None = None) -> Content:
    """Return the configuration in `content`; `name` says its form, and is for errors.

    Raises:
        UserError: As `read`.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{name} is no text in UTF-8: byte {error.start} is wrong.", hint="Check the path after -f."
        ) from None
    if not has_templates(text):
        return _content(name, text)
    filled = _rendered(name, text, key)
    try:
        return _content(name, filled)._replace(names_key=names_key(text))
    except UserError as error:
        error.shown = ""  # What was put in may be a password.
        raise


def _content(name: str, text: str) -> Content:
    sifted = sift(decode(name, text), File)
    places = text if is_json(name) else ""
    try:
        file = msgspec.convert(sifted.content, File)
    except msgspec.ValidationError as error:
        raise invalid(name, places, str(error)) from None
    if sifted.missing:
        raise missing(name, places, sifted.missing)
    return Content(file, tuple(sifted.aside))


def _rendered(name: str, text: str, key: str | None) -> str:
    """Return `text` with its templates filled in, `{{ key }}` by the file's own key where none is given."""
    if key is None and names_key(text):
        content: object = None
        with contextlib.suppress(UserError):  # Said again below, with what stands there then.
            content = decode(name, render(name, text, Values("key", os.environ)))
        own = content.get("key") if isinstance(content, dict) else None
        key = own if isinstance(own, str) else None
    return render(name, text, Values(key, os.environ))
