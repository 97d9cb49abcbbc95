"""Looks at a node of this host, or changes it, for ``tools``."""
