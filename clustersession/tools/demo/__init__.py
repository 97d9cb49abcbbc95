"""The product ``clustersession demo``: two nodes and a balancer on this machine, one killed."""
