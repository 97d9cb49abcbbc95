"""Runs the command line as ``python -m clustersession``."""

from clustersession.cli import main

main()
