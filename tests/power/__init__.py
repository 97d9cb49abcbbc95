"""Power cuts of real processes: what was promised is there afterwards, and no logout is undone."""
