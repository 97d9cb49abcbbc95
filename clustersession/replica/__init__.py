"""The node's copy of every session: one protocol, kept in LMDB or in memory."""
