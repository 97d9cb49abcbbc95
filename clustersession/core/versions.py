"""Compares version vectors: per node, up to which place of its feed a copy contains its writes."""

from collections.abc import Mapping

Versions = dict[bytes, int]


def merge_versions(a: Mapping[bytes, int], b: Mapping[bytes, int]) -> Versions:
    """Return the pointwise maximum."""
    merged = dict(a)
    for node, seq in b.items():
        if seq > merged.get(node, 0):
            merged[node] = seq
    return merged


def covers(a: Mapping[bytes, int], b: Mapping[bytes, int]) -> bool:
    """Tell whether a copy with versions ``a`` contains every write of one with versions ``b``."""
    return all(a.get(node, 0) >= seq for node, seq in b.items())
