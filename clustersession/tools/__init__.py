"""Tools: what people run. Each has a folder; nothing that serves requests imports from here."""
