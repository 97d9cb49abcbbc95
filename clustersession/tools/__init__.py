"""Holds what people run, a folder each; nothing that serves requests imports from here."""
