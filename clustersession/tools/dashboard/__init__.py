"""The product ``clustersession dashboard``: a live status page, which also mounts into an app."""
