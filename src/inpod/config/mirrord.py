"""What mirrord has and inpod has not, or not yet: so that a line can say so."""

from collections.abc import Mapping
from pathlib import Path

NOT_YET = {
    "": (
        *("accept_invalid_certificates", "operator"),
        *("connect_tcp", "internal_proxy", "external_proxy", "use_proxy", "kubeconfig", "ci", "telemetry", "baggage"),
        *("experimental", "startup_retry", "container", "profile", "sip_binaries", "skip_sip", "traceparent", "up"),
    ),
    "target": ("container", "deployment", "pod"),
    "agent": (
        *("log_level", "json_log", "namespace", "image_pull_policy", "image_pull_secrets", "ttl", "dns"),
        *("communication_timeout", "disabled_capabilities", "tolerations", "resources", "metrics"),
        *("check_out_of_pods", "node_selector", "privileged", "service_account", "annotations", "labels", "nftables"),
        *("priority_class", "network_interface", "exclude_from_mesh", "inject_headers", "max_body_buffer_size"),
    ),
    "feature": ("copy_target", "split_queues", "preview", "magic", "db_branches"),
    "feature.env": ("override", "mapping", "unset", "env_file", "load_from_process"),
    "feature.fs": ("read_write", "read_only", "local", "not_found", "mapping", "readonly_file_buffer"),
    "feature.network.incoming.http_filter": ("header_filter_jq",),
    "feature.network": ("ipv6",),
    "feature.network.incoming": (*("https_delivery", "tls_delivery"),),
}
"""By the place of the object, as in the file."""

OPTIONS_NOT_YET = (
    *("-a", "--agent-namespace", "-l", "--agent-log-level", "--agent-ttl"),
    *("-c", "--accept-invalid-certificates", "--env-file", "-k", "--key", "--no-telemetry", "--disable-version-check"),
)
"""Of `mirrord exec`."""

FILE = Path(".mirrord/mirrord.json")
"""What mirrord reads without being told."""


def unread(environment: Mapping[str, str], config_file: Path | None) -> str:
    """Return, in a line, where mirrord would look for options and inpod does not; "" when nothing is there.

    Args:
        config_file: What inpod reads.
    """
    found = sorted(name for name in environment if name.startswith("MIRRORD_"))
    if config_file is None and FILE.is_file():
        found.append(str(FILE))
    if not found:
        return ""
    return f"Not looked at: {', '.join(found)}. inpod takes options from its command line, and from a file by -f FILE."
