"""Keeps a node and a store in step while hosts move: ``clustersession bridge``."""
