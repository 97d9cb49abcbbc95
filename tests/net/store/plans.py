"""Where a server of a test is, as a node or a tool would find it."""

from dataclasses import replace

from clustersession.net.store.open_store import StorePlan, plan_of
from clustersession.settings.settings import Settings
from tests.store.servers import Server

SECRET = "a secret of the tests, long enough"


def plan_for(
    server: Server, *, hears_all: bool = False, name: str = "tests", url: str = ""
) -> StorePlan:
    """The plan for a cluster of that name; ``url``: another way to the server than its own."""
    settings = Settings(
        distributable=True, secret=(SECRET,), cluster_name=name, store=url or server.url
    )
    return replace(plan_of(settings), hears_all=hears_all)
