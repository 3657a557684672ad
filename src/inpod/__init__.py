"""inpod: run a local program as if it stood inside a pod."""

__version__ = "0.1.0"
