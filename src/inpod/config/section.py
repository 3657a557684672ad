"""What the sections of the configuration file have in common."""

import msgspec


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON object; a key that it does not have is an error."""
