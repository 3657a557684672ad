"""Both event loops."""

from tests.unit.tunnel.conftest import run as run  # a fixture
