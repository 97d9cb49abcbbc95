"""Starts a node's agent for a worker, as ``python -m clustersession.agent``."""

import sys

from clustersession.agent.process import main_detached

sys.exit(main_detached())
