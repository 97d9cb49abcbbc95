"""A world for each test that asks for one."""

import pytest

from tests.session.fakes import World


@pytest.fixture
def world() -> World:
    return World()
