"""Two nodes that run an example, as the system tests start theirs."""

from tests.system.conftest import start_nodes

__all__ = ["start_nodes"]
