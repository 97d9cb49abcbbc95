"""Whole clusters on a virtual clock and a simulated network; see docs/testing.md."""
