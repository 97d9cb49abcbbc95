"""Runs two nodes and a balancer on this machine, and kills one: ``clustersession demo``."""
