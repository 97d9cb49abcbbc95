"""Follows the logins and logouts of Flask-Login and Flask-Principal, and so of Flask-Security.

None of them gives a session a new id: whoever knows the id from before the login, because they
have planted it, would share the login. Nor do they say whose session it is.
"""

import sys
from typing import Any

from flask import Flask, session

from clustersession.core.state import PRINCIPAL
from clustersession.session.session import Session
from clustersession.session.visit import visit_of


def follow_logins(app: Flask) -> None:
    """Have what logs users in at this application tell us, as far as it is imported by now."""
    login, principal = sys.modules.get("flask_login"), sys.modules.get("flask_principal")
    if login is not None and hasattr(app, "login_manager"):
        login.user_logged_in.connect(_logged_in, app)
        # By the cookie that remembers users: it fills the session as a login does.
        login.user_loaded_from_cookie.connect(_logged_in, app)
        login.user_logged_out.connect(_logged_out, app)
    elif principal is not None and _keeps_identities(app, principal.Principal):
        principal.identity_changed.connect(_identity_changed, app)


def _keeps_identities(app: Flask, kind: type[Any]) -> bool:
    """Tell whether Flask-Principal keeps in the session who is logged in.

    Else each request says anew who it is, and a session would only be begun for that.
    """
    owners = [getattr(f, "__self__", None) for f in app.before_request_funcs.get(None, ())]
    return any(isinstance(owner, kind) and owner.use_sessions for owner in owners)


def _logged_in(app: Flask, **_: Any) -> None:
    found: Any = session._get_current_object()  # type: ignore[attr-defined]
    if isinstance(found, Session):
        _belongs_to(found, found.get("_user_id"))


def _logged_out(app: Flask, **_: Any) -> None:
    found: Any = session._get_current_object()  # type: ignore[attr-defined]
    # An outdated id stays so: its client has another session by now.
    if isinstance(found, Session) and not visit_of(found).outdated:
        _belongs_to(found, None)


def _identity_changed(app: Flask, identity: Any, **_: Any) -> None:
    if identity.id is None:
        _logged_out(app)
    else:
        found: Any = session._get_current_object()  # type: ignore[attr-defined]
        if isinstance(found, Session) and (
            str(identity.id) != found.principal or PRINCIPAL in visit_of(found).system
        ):
            _belongs_to(found, identity.id)


def _belongs_to(found: Session, user_id: object) -> None:
    found.rotate()
    found.principal = None if user_id is None else str(user_id)
