"""Starts nodes side by side, and ends them so: most of the time of a test of nodes is theirs."""

from collections.abc import Sequence
from contextlib import ExitStack

from clustersession.tools.demo.nodes import Node
from clustersession.tools.demo.processes import kill_node


def start_together(nodes: Sequence[Node], cleanup: ExitStack) -> None:
    """Start them, wait until all accept connections; whatever happens, they end with the stack."""
    cleanup.callback(end_together, nodes)
    for node in nodes:
        node.launch()
    for node in nodes:
        node.wait_until_up()


def end_together(nodes: Sequence[Node]) -> None:
    """End them by kill -9: nothing of them is looked at any more."""
    for node in nodes:
        kill_node(node.state_dir)
        node.program.stop()
