"""Storage engines: the contract that a replica is written against, and each one that keeps it."""
