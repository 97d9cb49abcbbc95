"""An application whose users log in with fastapi-users, into our session."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Response
from fastapi.security import APIKeyCookie
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin
from fastapi_users.authentication import AuthenticationBackend, Strategy
from fastapi_users.authentication.transport import Transport
from fastapi_users.db import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from fastapi_users.exceptions import UserNotExists
from fastapi_users.schemas import BaseUserCreate
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

from clustersession.fastapi import ClusterSessionMiddleware, Session, SessionDependency


class Base(DeclarativeBase):
    pass


class User(SQLAlchemyBaseUserTableUUID, Base):
    pass


engine = create_async_engine(f"sqlite+aiosqlite:///{Path(os.environ['RECIPE_DIRECTORY'])}/users.db")
make_connection = async_sessionmaker(engine, expire_on_commit=False)


class UserManager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    reset_password_token_secret = verification_token_secret = "a secret for links in mails"


async def get_connection() -> AsyncIterator[AsyncSession]:
    async with make_connection() as connection:
        yield connection


async def get_user_manager(
    connection: Annotated[AsyncSession, Depends(get_connection)]
) -> UserManager:
    return UserManager(SQLAlchemyUserDatabase(connection, User))


class OurCookie(Transport):
    """Is the cookie of the session, which the middleware sets."""

    scheme = APIKeyCookie(name="CLUSTERSESSION", auto_error=False)

    async def get_login_response(self, token: str) -> Response:
        return Response(status_code=204)

    async def get_logout_response(self) -> Response:
        return Response(status_code=204)

    @staticmethod
    def get_openapi_login_responses_success() -> dict[int | str, dict[str, Any]]:
        return {204: {"model": None}}

    get_openapi_logout_responses_success = get_openapi_login_responses_success


class SessionStrategy(Strategy[User, uuid.UUID]):
    """Keeps in the session who is logged in; the token means nothing."""

    def __init__(self, session: Session) -> None:
        self.session = session

    async def read_token(self, token: str | None, user_manager: Any) -> User | None:
        if "user_id" not in self.session:
            return None
        try:
            return await user_manager.get(uuid.UUID(self.session["user_id"]))
        except UserNotExists:
            return None

    async def write_token(self, user: User) -> str:
        self.session.rotate()
        self.session["user_id"] = self.session.principal = str(user.id)
        return ""

    async def destroy_token(self, token: str, user: User) -> None:
        self.session.invalidate()


async def get_strategy(session: SessionDependency) -> SessionStrategy:
    return SessionStrategy(session)


backend = AuthenticationBackend("session", OurCookie(), get_strategy)
users = FastAPIUsers[User, uuid.UUID](get_user_manager, [backend])
app = FastAPI()
app.add_middleware(ClusterSessionMiddleware)
app.include_router(users.get_auth_router(backend), prefix="/auth")


@app.get("/")
async def home(
    session: SessionDependency,
    user: Annotated[User | None, Depends(users.current_user(optional=True))],
) -> dict[str, Any]:
    session["visits"] = session.get("visits", 0) + 1
    is_theirs = user is not None and session.principal == str(user.id)
    return {"user": user and user.email, "is_theirs": is_theirs}


def add_users() -> None:
    async def add() -> None:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with make_connection() as session:
            manager = UserManager(SQLAlchemyUserDatabase(session, User))
            await manager.create(BaseUserCreate(email="ann@example.org", password="right"))

    asyncio.run(add())
