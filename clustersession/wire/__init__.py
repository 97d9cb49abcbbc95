"""Bytes get their meaning here: records, messages, frames, datagrams, session values. Pure."""
