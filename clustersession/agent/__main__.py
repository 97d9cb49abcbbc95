"""``python -m clustersession.agent``: what a worker runs to start its node's agent."""

import sys

from clustersession.agent.process import main_detached

sys.exit(main_detached())
