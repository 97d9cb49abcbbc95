"""Checks whether settings, host and other nodes fit each other: ``clustersession check``."""
