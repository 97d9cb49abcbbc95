"""Holds the node's copy of every session: ``Replica``, written once over any storage engine."""
