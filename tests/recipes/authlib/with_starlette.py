"""The client in Starlette."""

from authlib.integrations.base_client import OAuthError
from authlib.integrations.starlette_client import OAuth
from provider import REGISTERED
from provider import routes as of_the_provider
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from clustersession.asgi import ClusterSessionMiddleware, session_of

oauth = OAuth()
oauth.register("provider", **REGISTERED)


async def log_in(request: Request) -> Response:
    return await oauth.provider.authorize_redirect(request, request.url_for("callback"))


async def callback(request: Request) -> Response:
    try:
        token = await oauth.provider.authorize_access_token(request)
    except OAuthError as error:
        return PlainTextResponse(str(error), 400)
    user = await oauth.provider.userinfo(token=token)
    session = session_of(request)
    session.rotate()
    session["user"] = session.principal = user["sub"]
    return PlainTextResponse("in")


async def log_out(request: Request) -> Response:
    request.session.clear()
    return PlainTextResponse("out")


async def home(request: Request) -> Response:
    session = session_of(request)
    return JSONResponse({"names": sorted(session), "principal": session.principal})


app = Starlette(routes=[
    Route("/starlette", home), Route("/starlette/login", log_in),
    Route("/starlette/callback", callback), Route("/starlette/logout", log_out, methods=["POST"]),
    *of_the_provider,
])
app.add_middleware(ClusterSessionMiddleware)
