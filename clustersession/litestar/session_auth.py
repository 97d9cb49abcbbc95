"""Has Litestar's ``SessionAuth`` work on the session of the plugin.

``SessionAuth`` brings a session middleware of Litestar along, which would stand between the plugin
and the application, and whose sessions die with their node.
"""

from copy import copy
from typing import Any, cast

from litestar.middleware.base import DefineMiddleware
from litestar.security.session_auth.middleware import MiddlewareWrapper

from clustersession.litestar.logins import LoginFollower
from clustersession.requests.foreign import inside


def use_our_session(app: object, cookie_name: str, follower: LoginFollower | None) -> None:
    """Have every SessionAuth inside an application do without a session middleware of its own.

    ``follower`` learns of each.
    """
    for node in inside(app):
        if isinstance(node, MiddlewareWrapper):
            if follower is not None:
                follower.know(node.config.retrieve_user_handler)
            # A copy: the same SessionAuth may serve an application without the plugin.
            node.config = copy(node.config)
            node.config.session_backend_config = cast(Any, _OurSession(cookie_name))


class _OurSession:
    """Is what ``SessionAuth`` asks of the configuration of a session middleware."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.middleware = DefineMiddleware(_pass_through)

    @staticmethod
    def _backend_class(config: object) -> None:
        """Make no backend: the middleware of the plugin holds the session."""


def _pass_through(app: Any, backend: object) -> Any:
    return app
