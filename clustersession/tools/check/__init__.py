"""The product ``clustersession check``: do settings, host and other nodes fit each other?"""
