"""One server of each kind for all tests of the store."""

from collections.abc import Iterator

import pytest
import redis

from tests.store.servers import SERVERS, required, serving


@pytest.fixture(scope="session", params=SERVERS)
def client(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[redis.Redis]:
    """A client of a server that runs as long as the tests."""
    with serving(required(request.param), tmp_path_factory.mktemp("s")) as made:
        yield made
