"""Bytes and what they mean: records, messages, frames, sealed datagrams, session values. Pure."""
