"""A provider of OAuth 2 that believes everybody: the code is the user's name."""

import os
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

OWN_URL = f"http://127.0.0.1:{os.environ['PORT']}/provider"
REGISTERED = {
    "client_id": "shop",
    "client_secret": "known to both",
    "authorize_url": f"{OWN_URL}/authorize",
    "access_token_url": f"{OWN_URL}/token",
    "userinfo_endpoint": f"{OWN_URL}/userinfo",
    "client_kwargs": {"code_challenge_method": "S256"},
}


async def token(request: Request) -> JSONResponse:
    form = dict(parse_qsl((await request.body()).decode()))
    assert form["code_verifier"], "it was kept in the session"
    return JSONResponse({"access_token": form["code"], "token_type": "Bearer"})


async def userinfo(request: Request) -> JSONResponse:
    return JSONResponse({"sub": request.headers["authorization"].removeprefix("Bearer ")})


routes = [
    Route("/provider/token", token, methods=["POST"]),
    Route("/provider/userinfo", userinfo),
]
