"""Holds the contract that a replica is written against, and each engine that keeps it."""
