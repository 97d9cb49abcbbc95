"""What the tests of the dashboard share."""

from tests.system.conftest import start_nodes

__all__ = ["start_nodes"]
