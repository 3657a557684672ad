"""What mirrord has and inpod has not: what a session can do without, and what it cannot, so that a line can say so."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

Given = Literal["any", "off", "disabled", "on"]
"""Of a key: whatever its value is; only `false`, or an object of them; only `false`, or `enabled` so; only `true`."""

ASIDE: dict[str, dict[str, Given]] = {
    "": {
        **dict.fromkeys(("telemetry", "api", "operator", "multi_cluster", "baggage", "traceparent", "startup_retry"), "any"),
        **dict.fromkeys(("internal_proxy", "external_proxy", "container", "ci", "experimental"), "any"),
        **dict.fromkeys(("sip_binaries", "skip_sip"), "any"),
        "accept_invalid_certificates": "off",
        "use_proxy": "on",
    },
    "agent": {
        **dict.fromkeys(("log_level", "json_log", "ttl", "communication_timeout", "metrics", "dns"), "any"),
        **dict.fromkeys(("check_out_of_pods", "image_pull_policy", "network_interface", "exclude_from_mesh"), "any"),
        **dict.fromkeys(("clean_iptables_on_start", "max_body_buffer_size", "max_body_buffer_timeout"), "any"),
        **dict.fromkeys(("http_detection_timeout", "override_cache_control", "external_ip_fix"), "any"),
        "privileged": "off",
        "inject_headers": "off",
    },
    "feature": {"copy_target": "disabled", "magic": "off", "split_queues": "off", "preview": "off", "db_branches": "off"},
    "feature.env": {"load_from_process": "any"},
    "feature.fs": {"readonly_file_buffer": "any"},
    "feature.network": {"ipv6": "on"},
}  # fmt: skip
"""Keys that may be left aside: what they set inpod does without, or does anyhow. By the place of their object."""

KINDS = ("rollout", "job", "cron_job", "stateful_set", "service", "replica_set", "label", "workflow", "serverless")
"""Of targets, that are not there yet."""

NOT_YET = {
    "": ("accept_invalid_certificates", "connect_tcp", "use_proxy", "kubeconfig", "profile", "up"),
    "target": KINDS,
    "target.path": KINDS,
    "agent": (
        *("namespace", "image_pull_secrets", "disabled_capabilities", "tolerations", "resources", "node_selector"),
        *("privileged", "service_account", "annotations", "labels", "nftables", "priority_class", "security_context"),
        *("disable_mesh_sidecar_injection", "inject_headers"),
    ),
    "feature": ("copy_target", "split_queues", "preview", "magic", "db_branches"),
    "feature.fs": ("read_write", "not_found", "mapping"),
    "feature.network.incoming.http_filter": ("header_filter_jq",),
    "feature.network": ("ipv6",),
    "feature.network.incoming": ("https_delivery", "tls_delivery", "http_header_filter"),
}
"""Keys without which a session would be another one than asked for. By the place of their object."""

INSTEAD = {
    "accept_invalid_certificates": "Set insecure-skip-tls-verify for the cluster in the kubeconfig.",
    "use_proxy": "Run inpod without HTTP_PROXY and HTTPS_PROXY.",
    "kubeconfig": "Set the variable KUBECONFIG.",
    "agent.nftables": 'Write "redirect": "nftables".',
    "agent.privileged": "inpod's agent is never privileged: remove the key.",
    "feature.magic": "Name variables of this machine that the program must not have in feature.env.unset, and remove it.",
    "feature.copy_target": "The original goes on; with 'steal' its traffic comes to the program. Remove the key.",
    "feature.network.incoming.http_header_filter": 'Write "http_filter": {"header_filter": …, "ports": …}.',
    "feature.fs.read_write": "Writes stay on this machine: remove it.",
    "feature.fs.not_found": "Have feature.env.override name another file, and remove it.",
}
"""What to do where there is another way."""

OPTIONS_NOT_YET = {
    **dict.fromkeys(("-a", "--agent-namespace"), "The agent stands in the target's namespace: leave it out."),
    **dict.fromkeys(("-c", "--accept-invalid-certificates"), INSTEAD["accept_invalid_certificates"]),
}
"""Of `mirrord exec`, and what to do."""

COMMANDS_NOT_YET = (
    *("container", "dump", "port-forward", "diagnose", "fix", "up", "ui", "wizard", "chaos", "session"),
    *("kill", "ci", "operator", "preview", "db-branches", "queues", "subscribe", "teams", "vpn", "completions", "ext"),
)
"""Of `mirrord`."""

AGENT_NAME = "mirrord"
"""Last part of the name of mirrord's agent image, which has no Python."""

IGNORED_PORTS = "MIRRORD_IGNORE_DEBUGGER_PORTS"
"""A variable that is looked at: ports of debuggers, "5005,40000-40010"."""

BRANCH = "MIRRORD_BRANCH_NAME"
"""Another: what `{{ git_branch }}` stands for, whatever git says."""

FILE = Path(".mirrord/mirrord.json")
"""What mirrord reads without being told."""


class Sorted(NamedTuple):
    """mirrord's keys of one object that inpod does not have.

    Attributes:
        aside: That can be left aside.
        missing: That cannot.
    """

    aside: list[str]
    missing: list[str]


def sort_keys(content: Mapping[str, object], place: str) -> Sorted:
    """Return what of an object's keys can be left aside, and what cannot; keys of nobody's are in neither."""
    found = Sorted([], [])
    for key, value in content.items():
        given = ASIDE.get(place, {}).get(key)
        if given is None and key not in NOT_YET.get(place, ()):
            continue
        fits = value is None or given == "any" or (value is True if given == "on" else _is_off(value, given))
        (found.aside if fits else found.missing).append(key)
    return found


def is_agent_of_mirrord(image: object) -> bool:
    """Return whether a value of `agent.image` names mirrord's own agent."""
    name = image.get("registry") if isinstance(image, dict) else image
    return isinstance(name, str) and name.partition("@")[0].rpartition("/")[2].partition(":")[0] == AGENT_NAME


def unread(environment: Mapping[str, str], config_file: Path | None) -> str:
    """Return, in a line, where mirrord would look for options and inpod does not; "" when nothing is there.

    Args:
        config_file: What inpod reads.
    """
    found = sorted(name for name in environment if name.startswith("MIRRORD_") and name not in (IGNORED_PORTS, BRANCH))
    if config_file is None and FILE.is_file():
        found.append(str(FILE))
    if not found:
        return ""
    return f"Not looked at: {', '.join(found)}. inpod takes options from its command line, and from a file by -f FILE."


def _is_off(value: object, given: Given | None) -> bool:
    if isinstance(value, dict):
        is_off = given == "off" and all(inner is False for inner in value.values())
        return value.get("enabled") is False or is_off
    return value in (False, [])
