"""Version vectors: per node, the highest feed sequence number whose writes a copy contains."""

from collections.abc import Mapping

Versions = dict[bytes, int]


def merge_versions(a: Mapping[bytes, int], b: Mapping[bytes, int]) -> Versions:
    """Pointwise maximum."""
    merged = dict(a)
    for node, seq in b.items():
        if seq > merged.get(node, 0):
            merged[node] = seq
    return merged


def covers(a: Mapping[bytes, int], b: Mapping[bytes, int]) -> bool:
    """Whether a copy with versions ``a`` contains every write of a copy with versions ``b``."""
    return all(a.get(node, 0) >= seq for node, seq in b.items())
