"""``python -m clustersession``: the command line."""

from clustersession.admin.cli import main

main()
