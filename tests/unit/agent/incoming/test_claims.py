import resource

from inpod.agent.incoming.claims import is_claimed

PORT = 1
"""Nobody steals it here."""


def test_role_may_be_claimed_where_nobody_can_find_out() -> None:
    assert not is_claimed(PORT, "tcp", "stand-in")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        found = is_claimed(PORT, "tcp", "stand-in")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found
