"""A shop with two admin areas: one with sqladmin's own session, one that shares ours."""

import os
from pathlib import Path

from fastapi import FastAPI, Request
from sqladmin import Admin, ModelView
from sqladmin.authentication import AuthenticationBackend
from sqlalchemy import Integer, String, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.types import Receive, Scope, Send

from clustersession.asgi import ClusterSessionMiddleware, session_of

DATABASE = Path(os.environ["RECIPE_DIRECTORY"]) / "shop.db"
engine = create_engine(f"sqlite:///{DATABASE}")


class Base(DeclarativeBase):
    pass


class Product(Base):
    __tablename__ = "products"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(String)


class ProductAdmin(ModelView, model=Product):
    column_list = "__all__"


class OwnSession(AuthenticationBackend):
    async def login(self, request: Request) -> bool:
        form = await request.form()
        if form["password"] != "right":
            return False
        request.session["admin"] = form["username"]
        return True

    async def logout(self, request: Request) -> bool:
        request.session.clear()
        return True

    async def authenticate(self, request: Request) -> bool:
        return "admin" in request.session


class SharedSession(AuthenticationBackend):
    def __init__(self) -> None:
        self.middlewares = []  # no session of its own: request.session is ours

    async def login(self, request: Request) -> bool:
        form = await request.form()
        if form["password"] != "right":
            return False
        session = session_of(request)
        session.rotate()
        session["admin"] = session.principal = str(form["username"])
        return True

    async def logout(self, request: Request) -> bool:
        request.session.clear()
        return True

    async def authenticate(self, request: Request) -> bool:
        return "admin" in request.session


site = FastAPI()
site.add_middleware(ClusterSessionMiddleware)
admin = Admin(site, engine, authentication_backend=OwnSession("a secret of its own"))
admin.add_view(ProductAdmin)

sharing_site = FastAPI()
sharing_site.add_middleware(ClusterSessionMiddleware)
Admin(sharing_site, engine, base_url="/shared", authentication_backend=SharedSession())


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    # Only one admin area fits into an application.
    shares = scope.get("path", "").startswith("/shared")
    await (sharing_site if shares else site)(scope, receive, send)


@site.post("/login/{name}")
async def login(request: Request, name: str) -> str:
    session = session_of(request)
    session.rotate()
    session["user"] = session.principal = name
    return name


@site.get("/")
async def home(request: Request) -> dict[str, str | None]:
    session = session_of(request)
    return {"user": session.get("user"), "principal": session.principal}



def add_products() -> None:
    Base.metadata.create_all(engine)
