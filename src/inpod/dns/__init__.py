"""A stub resolver that answers as libc would: `messages` and `config` decide, `resolver` talks.

Of the target in the agent; of this machine in the session, for the names that are left to it.
"""
