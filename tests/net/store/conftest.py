"""Servers of each kind, for one test or for those of a file."""

from collections.abc import Iterator

import pytest

from tests.store.servers import SERVERS, Server, required, running


@pytest.fixture(scope="module", params=SERVERS)
def program(request: pytest.FixtureRequest) -> str:
    """The program of a server."""
    return required(request.param)


@pytest.fixture(scope="module")
def shared(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that runs as long as a file's tests."""
    with running(program, tmp_path_factory.mktemp("s")) as server:
        yield server


@pytest.fixture
def empty(shared: Server) -> Server:
    """The same, without anything in it."""
    shared.admin.flushall()
    return shared


@pytest.fixture
def server(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a test's own, for what others must not see."""
    with running(program, tmp_path_factory.mktemp("s")) as one:
        yield one
