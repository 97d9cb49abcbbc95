"""Makes sessions that are there before a test begins, and logs test clients in with them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from clustersession.core.errors import SessionError
from clustersession.core.ids import join_cookie
from clustersession.session.session import Session
from clustersession.testing.apps import runtime_of
from clustersession.testing.clients import app_of, kind_of


@dataclass(frozen=True, slots=True)
class PresetSession:
    """Is a stored session: ``name`` and ``value`` of the cookie, and the ``sid``."""

    name: str
    value: str
    sid: str

    @property
    def cookies(self) -> dict[str, str]:
        """Return the cookie as clients take cookies: a dict by name."""
        return {self.name: self.value}

    @property
    def header(self) -> str:
        """Return the value of a Cookie header."""
        return f"{self.name}={self.value}"


def session_for(
    app_or_client: Any,
    values: Mapping[str, Any] | None = None,
    *,
    principal: str | int | None = None,
) -> PresetSession:
    """Store a new session with these values; a test client is given its cookie.

    principal: the user whose session it is. Raises LookupError for what has no sessions of ours,
    and what a commit raises.
    """
    kind = kind_of(app_or_client)
    app = app_or_client if kind is None else app_of(app_or_client, kind)
    runtime = runtime_of(app)
    manager = runtime.manager()
    visit = manager.open(())
    session = cast(Session, visit.session)
    session.update(values or {})
    if principal is not None:
        session.principal = principal
    visit.wanted = True
    manager.commit(visit)
    manager.close(visit)
    route = None if visit.client is None else visit.client[1]
    if visit.identifier is None or route is None:
        raise SessionError("the session was not stored; the log of clustersession says why")
    value = join_cookie(visit.identifier, route)
    preset = PresetSession(runtime.settings.cookie_name, value, visit.identifier)
    if kind is not None:
        kind.set_cookie(app_or_client, runtime, preset.name, preset.value)
    return preset
