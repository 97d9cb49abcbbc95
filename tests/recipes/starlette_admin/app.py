"""An admin area of starlette-admin, whose logins are followed by its event."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette_admin.auth import AdminUser, AuthProvider
from starlette_admin.base import BaseAdmin
from starlette_admin.events import AdminEvent, AfterLoginContext
from starlette_admin.exceptions import LoginFailed

from clustersession.asgi import ClusterSessionMiddleware, session_of


class Provider(AuthProvider):
    async def login(
        self, username: str, password: str, remember_me: bool, request: Request
    ) -> None:
        if password != "right":
            raise LoginFailed("wrong name or password")
        request.session["admin"] = username

    async def authenticate(self, request: Request) -> AdminUser | None:
        name = request.session.get("admin")
        return AdminUser(name) if name else None

    async def logout(self, request: Request) -> None:
        request.session.clear()


async def home(request: Request) -> Response:
    session = session_of(request)
    session.setdefault("visits", 0)
    return JSONResponse({"admin": session.get("admin"), "principal": session.principal})


app = Starlette(routes=[Route("/", home)])
app.add_middleware(ClusterSessionMiddleware)
admin = BaseAdmin(auth_provider=Provider(), secret_key="of CSRF tokens; on all nodes the same")


@admin.events.on(AdminEvent.AFTER_LOGIN)
async def follow_login(event: AfterLoginContext) -> None:
    session = session_of(event.request)
    session.rotate()
    session.principal = session["admin"]


admin.mount_to(app)
