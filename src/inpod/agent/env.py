"""The target's environment, as the session reads it."""

import json

from inpod.agent.target import Target


def environment(target: Target) -> bytes:
    """Return the answer to `ReadEnv`: a JSON object; bytes that are not UTF-8 become lone surrogates.

    Raises:
        OSError: The target is gone, or a right is missing.
    """
    return json.dumps({_text(name): _text(value) for name, value in target.environ().items()}).encode()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
