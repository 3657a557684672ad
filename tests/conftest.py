"""Options of the whole suite."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add our options."""
    parser.addoption("--kubeconfig", help="run tests/e2e in this cluster instead of one of our own")
    parser.addoption("--agent-image", help="with --kubeconfig: an image with Python 3.11 that its nodes have")
