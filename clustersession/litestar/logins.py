"""Follows the logins and logouts of Litestar's ``SessionAuth``.

Nothing tells of them: a handler writes into the session, and the application's
``retrieve_user_handler`` finds a user in it from then on. So that is asked, in each request that
changes the session. To wait for the next request, which asks it anyway, would be too late: whoever
has planted the id might come first. Nor does ``set_session`` tell, which is used for other things
as well, while a login may do without.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from litestar.connection import ASGIConnection

from clustersession.core.state import PRINCIPAL
from clustersession.session.changes import visible_values
from clustersession.session.merging import decode_attribute
from clustersession.session.session import Session
from clustersession.session.visit import Visit, visit_of

_UNKNOWN = object()
"""Stands for a user when it cannot be told whether there is one."""


class LoginFollower:
    """Asks every SessionAuth of an application who is logged in by a session.

    Which of them a login is for nobody says: the handler that serves it may stand outside of all.
    """

    def __init__(self) -> None:
        self._retrievers: list[Any] = []

    def know(self, retrieve_user_handler: Any) -> None:
        """Ask this one too; SessionAuth has made it asynchronous."""
        if retrieve_user_handler not in self._retrievers:
            self._retrievers.append(retrieve_user_handler)

    async def follow(self, session: Session, scope: Any) -> None:
        """Have a session take a new id, and belong to its user, when somebody logged in or out.

        A principal that the application has set itself stays.
        """
        visit = visit_of(session)
        if not self._retrievers or not (visit.touched or visit.wrote):
            return
        user = await self._user_of(session, scope)
        if user is _UNKNOWN:
            session.rotate()  # it may be a login
            return
        name, before_name = _name_of(user), session.principal
        is_named = PRINCIPAL in visit.system  # maybe by the application, in this very login
        if before_name == name and not is_named and (user is None or name is not None):
            return
        before = await self._user_of(_content_before(visit), scope)
        if user is None:
            has_changed = before is not None and not visit.outdated
        else:
            unnamed = name is not None and before_name is None
            has_changed = before is None or _name_of(before) != name or unnamed
        if has_changed:
            session.rotate()
            if not is_named:
                session.principal = name

    async def _user_of(self, content: Mapping[str, Any], scope: Any) -> Any:
        """Return the user as Litestar would find it, None for nobody."""
        if not content:
            return None
        for retrieve in self._retrievers:
            try:
                user = await retrieve(content, ASGIConnection(scope))
            except LookupError:
                continue  # for want of a key that a login would set
            except Exception:
                return _UNKNOWN
            if user:
                return user
        return None


def _content_before(visit: Visit) -> dict[str, Any]:
    """Return what the session held before what is unsaved now.

    So a change of user that the application has saved itself is not seen; a login is, as the
    session has no principal yet.
    """
    stored = {} if visit.state is None else visible_values(visit.state.registers)
    return {name: decode_attribute(data) for name, data in stored.items()}


def _name_of(user: Any) -> str | None:
    """Return what a user is called, None when that cannot be told."""
    found = user.get("id") if isinstance(user, Mapping) else getattr(user, "id", user)
    if isinstance(found, bool) or not isinstance(found, (str, int, UUID)):
        return None
    return str(found) or None
