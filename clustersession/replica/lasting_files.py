"""Writes files that are there after a power cut: the old one or the new one, and whole."""

import os
from pathlib import Path

from clustersession.replica.private_directory import private_opener


def replace_text(path: Path, text: str) -> None:
    """Put a file with this text in the place of the one before, for this user alone.

    Raises OSError.
    """
    fresh = path.with_name(f"{path.name}.new")
    with open(fresh, "w", opener=private_opener) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Bring the names in a directory to the disk. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
