"""Runs a node's agent: the process, or thread, that is its host's member of the cluster."""
