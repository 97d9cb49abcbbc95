"""Serves a live status page: ``clustersession dashboard``, or mounted into an app."""
