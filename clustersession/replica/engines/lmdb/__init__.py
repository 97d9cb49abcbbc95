"""The engine whose tables are an LMDB environment, shared by all processes of a host."""
