"""Is the protocol of one node: pure, and driven from outside.

An engine is fed what arrives (bytes, links that come and go, the passage of time) and handed-out
effects are carried out by its driver: the agent over real sockets, the simulator over simulated
ones. It reads no clock and draws no randomness; the replica it works on is passed in.
"""
