"""Has a Django project join the cluster when its ASGI server starts.

    application = with_lifespan(get_asgi_application())

Django refuses the lifespan protocol, by which ASGI servers announce their start and end.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from clustersession.django.configuration import close, start
from clustersession.requests.lifespan import answer_lifespan, joined

ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]


def with_lifespan(application: ASGIApp) -> ASGIApp:
    """Return the application with a lifespan in which this process's node joins and leaves.

    It stands outermost, around Channels' ProtocolTypeRouter too. The application sees no lifespan.
    """

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await application(scope, receive, send)
            return
        async with joined(start, close, receive, send):
            await answer_lifespan(receive, send)

    return answer


__all__ = ["with_lifespan"]
