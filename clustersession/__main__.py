"""``python -m clustersession``: the command line."""

from clustersession.cli import main

main()
