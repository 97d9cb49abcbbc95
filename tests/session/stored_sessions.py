"""Sessions that are stored before a test begins."""

from typing import Any

from clustersession.session.session import Session
from tests.session.fakes import World

DATA = {"user": "ann", "cart": [1, 2], "n": 3}


def stored(world: World, **values: Any) -> Session:
    return world.open([world.store(**values)])
