"""The target's files: `walk` follows paths, `contents` reads, `service` answers the session."""
