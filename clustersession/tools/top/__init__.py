"""The product ``clustersession top``: a node as it lives, in a terminal."""
