"""A stub resolver that answers as the target's libc would: `messages` and `config` decide, `resolver` talks."""
