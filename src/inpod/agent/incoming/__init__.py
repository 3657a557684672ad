"""Mirroring and stealing of the target's incoming connections."""
