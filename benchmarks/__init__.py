"""Measurements of the running thing. Each checks that the work was done and prints its figures."""
