"""Takes over the live sessions of another store: ``clustersession import``."""
