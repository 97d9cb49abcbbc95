"""Pure rules: clock, session state, version vectors, membership, failure detection, placement.

Nothing in this package does I/O, reads a clock or draws randomness. Time and random values come in
as arguments; ``now_s`` is monotonic seconds (liveness), ``wall_ms`` is wall-clock milliseconds
(stamps and expiry), and the two are never mixed.
"""
