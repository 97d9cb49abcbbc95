"""The product ``clustersession import``: takes over the live sessions of another store."""
