"""What is in the distributions: all of the package, nothing beside it, the same in each build."""

import os
import re
import subprocess
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from trove_classifiers import classifiers

import clustersession
from tests.frameworks.interpreters import VERSIONS
from tests.package.building import ROOT, Distributions, build

EPOCH_S = 1_700_000_000
BESIDE_THE_PACKAGE = {
    ".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "SECURITY.md",
    "pyproject.toml",
}
"""What the sdist has beside the package; hatchling adds .gitignore and PKG-INFO."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    return build(ROOT, tmp_path_factory.mktemp("dist"), EPOCH_S)


@pytest.fixture(scope="module")
def metadata(built: Distributions) -> Message:
    with zipfile.ZipFile(built.wheel) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(wheel.read(name))


def files_of_the_package() -> set[str]:
    return {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "clustersession").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_the_wheel_is_the_package_and_nothing_else(built: Distributions) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == files_of_the_package()
    kinds = {name.rpartition(".")[2] for name in names}
    assert kinds >= {"py", "typed", "lua", "html", "css", "js"}


def test_the_sdist_is_what_builds_the_wheel(built: Distributions) -> None:
    with tarfile.open(built.sdist) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert names == files_of_the_package() | BESIDE_THE_PACKAGE


def test_builds_are_reproducible(built: Distributions, tmp_path: Path) -> None:
    """From a copy in another place, with other times of files, for another user's mask."""
    subprocess.run(["tar", "-xf", built.sdist, "-C", tmp_path], check=True)
    (copy,) = tmp_path.iterdir()
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700 if path.is_dir() else 0o600)
    again = build(copy, tmp_path / "again", EPOCH_S)
    assert again.wheel.read_bytes() == built.wheel.read_bytes()
    assert again.sdist.read_bytes() == built.sdist.read_bytes()


def test_the_times_of_files_are_that_of_the_source(built: Distributions) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        assert {info.date_time[:3] for info in wheel.infolist()} == {(2023, 11, 14)}


def test_the_version_stands_in_one_place(metadata: Message) -> None:
    assert metadata["Version"] == clustersession.__version__
    text = "\n".join(path.read_text() for path in (ROOT / "clustersession").rglob("*.py"))
    assert text.count(f'"{clustersession.__version__}"') == 1
    assert clustersession.__version__ not in (ROOT / "pyproject.toml").read_text()


def test_the_change_log_begins_with_the_version() -> None:
    heading = re.search(r"^## \[?([0-9][\w.]*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert heading is not None
    assert heading[1] == clustersession.__version__


def test_classifiers_exist_and_name_the_tested_pythons(metadata: Message) -> None:
    named = set(metadata.get_all("Classifier", []))
    assert named <= classifiers
    pythons = {name.rpartition(" ")[2] for name in named if re.search(r"Python :: 3\.\d+$", name)}
    assert pythons == set(VERSIONS)
    assert metadata["Requires-Python"] == f">={VERSIONS[0]}"


def test_each_framework_that_has_a_classifier_has_an_extra(metadata: Message) -> None:
    named = (name.split(" :: ") for name in metadata.get_all("Classifier", []))
    frameworks = {parts[1].lower() for parts in named if parts[0] == "Framework"}
    assert frameworks - {"asyncio"} <= set(metadata.get_all("Provides-Extra", []))


def test_the_extra_of_everything_names_what_our_own_tools_import() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"]["all"] == [
        "clustersession[dashboard,import,metrics,tracing]"
    ]
