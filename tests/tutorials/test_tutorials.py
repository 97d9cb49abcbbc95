"""Every tutorial from the empty folder to the killed node, typed as it stands.

As part of the suite ``pip`` installs nothing: what it would install is what the tests run with.
``make tutorials`` lets it install the wheel of this source and its dependencies into the tutorial's
own environment.
"""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documents import ROOT
from tests.drill.shell import BIN
from tests.tutorials.tutorial import TUTORIALS, Command, File, read
from tests.tutorials.typing import Typist

PAGES = sorted(page for page in TUTORIALS.glob("*.md") if page.name != "README.md")

PIP = (sys.executable, "-m", "pip")

names = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pytest.fixture
def typist(tmp_path: Path) -> Iterator[Typist]:
    libraries = os.pathsep.join((sysconfig.get_path("purelib"), str(ROOT)))
    # pip takes seconds to install, and there is one.
    python = _python3(tmp_path, sys.executable, "--without-pip")
    path = f"{python}:{BIN}:{os.environ['PATH']}"
    made = Typist(tmp_path, PYTHONPATH=libraries, PIP_NO_INDEX="1", PATH=path)
    yield made
    made.close()


def _python3(directory: Path, interpreter: str, *options: str) -> Path:
    """A folder with a ``python3`` that is this one, and adds these options to what it is given."""
    program = directory / "bin" / "python3"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {interpreter} "$@" {" ".join(options)}\n')
    program.chmod(0o755)
    return program.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run([*PIP, "wheel", "-q", "--no-deps", "-w", directory, ROOT], check=True)
    (built,) = directory.glob("*.whl")
    return built


@pytest.fixture
def customer(tmp_path: Path, wheel: Path) -> Iterator[Typist]:
    """Has nothing but an interpreter and the registry, and the wheel in the place of a release."""
    cache = subprocess.run([*PIP, "cache", "dir"], check=True, capture_output=True, text=True)
    elsewhere = [name for name in os.environ["PATH"].split(":") if Path(name) != BIN]
    python = _python3(tmp_path, f"{sys.base_exec_prefix}/bin/python3")
    made = Typist(
        tmp_path, PATH=":".join((str(python), *elsewhere)), PIP_CACHE_DIR=cache.stdout.strip(),
        PIP_FIND_LINKS=f"{wheel.parent} {os.environ.get('PIP_FIND_LINKS', '')}",
    )
    yield made
    made.close()


@pytest.mark.system
@pytest.mark.timeout(180)
@names
def test_the_session_outlives_its_node(page: Path, typist: Typist) -> None:
    assert "$ kill -9 %1" in typist.follow(page)


@pytest.mark.extended
@pytest.mark.system
@pytest.mark.timeout(300)
@names
def test_so_it_does_from_a_wheel(page: Path, customer: Typist, wheel: Path) -> None:
    assert str(wheel) in customer.follow(page)
    assert (customer.directory / "shop/.venv/bin/clustersession").exists()


@names
def test_a_page_has_files_and_what_its_commands_show(page: Path) -> None:
    steps = read(page)
    assert [step for step in steps if isinstance(step, File)]
    assert sum(bool(step.shown) for step in steps if isinstance(step, Command)) > 8
