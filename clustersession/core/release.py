"""Compares two versions of this library."""

import re

_RELEASE = re.compile(r"\d+(?:\.\d+)*")
_NOT_FINAL = re.compile(r"(?:a|b|c|rc|alpha|beta|pre|preview|dev)\d*\b")


def is_newer(version: str, than: str) -> bool:
    """Tell whether ``version`` is a later release than ``than``; pre-releases come before theirs.

    Local labels (``+...``), post-releases and the order of pre-releases of one release are not
    looked at: they are no reason to exchange a running process. What is no version is the oldest.
    """
    return _rank(version) > _rank(than)


def _rank(version: str) -> tuple[tuple[int, ...], bool]:
    public = version.partition("+")[0]
    found = _RELEASE.match(public)
    if found is None:
        return (), False
    numbers = [int(number) for number in found[0].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers), _NOT_FINAL.search(public, found.end()) is None
