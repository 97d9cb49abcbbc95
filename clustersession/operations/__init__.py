"""Operations: what is done to a node of this host, or looked up on it, by tools."""
