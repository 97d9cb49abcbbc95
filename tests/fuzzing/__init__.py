"""Fuzzing: decoders, whole nodes and real ports under hostile input."""
