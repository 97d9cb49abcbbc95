"""pytest plugin: Beaker's tests find our middleware and our session by Beaker's names.

They make sessions without a request and without a middleware, which nobody can here: the two
classes below stand for a request each, and commit where its response would go out.
"""

from typing import Any

import pytest
from beaker import middleware, session
from beaker.container import MemoryNamespaceManager

from clustersession.beaker import BeakerSession, SessionMiddleware

_made: list[SessionMiddleware] = []


def _no_application(environ: Any, start_response: Any) -> Any:
    raise AssertionError


class OfNoRequest(BeakerSession):
    """As SessionObject: what was saved is committed by ``persist``."""

    namespace_class = MemoryNamespaceManager

    def __init__(self, request: Any, id: str | None = None, **options: Any) -> None:
        made = SessionMiddleware(_no_application, {f"session.{n}": v for n, v in options.items()})
        _made.append(made)
        manager = made.runtime.manager()
        visit = manager.open((id,) if id else ())
        if visit.missing:
            # A node that has just started asks the store, as the middleware would have it do.
            manager.fetch(visit)
        self.request = request
        super().__init__(visit.session, made.runtime.manager, made._auto)  # type: ignore[arg-type]

    def persist(self) -> None:
        """Take over, and commit."""
        super().persist()
        self.clustered.save()


class SavedAtOnce(OfNoRequest):
    """As Session: ``save`` commits."""

    def save(self, accessed_only: bool = False) -> None:
        """Commit, unless there is only an access."""
        if not accessed_only:
            super().save()
            self.persist()


session.Session = SavedAtOnce
session.SessionObject = OfNoRequest


class Remembered(SessionMiddleware):
    """Our middleware, which is closed with its test."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        _made.append(self)


middleware.SessionMiddleware = Remembered


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Each test begins with nothing open."""
    while _made:
        _made.pop().runtime.close()
