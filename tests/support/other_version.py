"""This library under another version number, which is all that an agent goes by."""

import shutil
from pathlib import Path

import clustersession


def package_of_version(version: str, directory: Path) -> Path:
    """Put a copy of the package that says so into a directory, and return that."""
    ours, copy = Path(clustersession.__file__).parent, directory / "clustersession"
    shutil.copytree(ours, copy, ignore=shutil.ignore_patterns("__pycache__"))
    init = copy / "__init__.py"
    before = init.read_text()
    after = before.replace(
        f'__version__ = "{clustersession.__version__}"', f'__version__ = "{version}"'
    )
    assert after != before
    init.write_text(after)
    return directory
