"""Keeps the tables in LMDB, shared by all processes of a host."""
