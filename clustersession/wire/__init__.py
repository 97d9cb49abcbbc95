"""Gives bytes their meaning: records, messages, frames, datagrams, session values. Pure."""
