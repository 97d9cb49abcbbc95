"""Shows a node in a terminal as it lives: ``clustersession top``."""
