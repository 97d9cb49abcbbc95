"""Holds the pure rules: clock, session state, versions, membership, detector, placement.

Nothing in this package does I/O, reads a clock or draws randomness. Time and random values come in
as arguments; ``now_s`` is monotonic seconds (liveness), ``wall_ms`` is wall-clock milliseconds
(stamps and expiry), and the two are never mixed.
"""
