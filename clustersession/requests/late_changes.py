"""Commits what changes after the headers went out; only no cookie can follow any more."""

from collections.abc import Callable, Iterable, Iterator

from clustersession.session.manager import SessionManager
from clustersession.session.visit import Visit


def save_late(manager: SessionManager, visit: Visit) -> None:
    """Commit what changed since the response went out. Raises what ``manager.save`` raises."""
    # After a refused commit there is nothing: it would only be refused once more.
    if visit.unsaved:
        _note_late(visit)
        manager.save(visit)
        visit.answered = True


async def save_late_async(manager: SessionManager, visit: Visit) -> None:
    """Do what ``save_late`` does, without blocking the event loop while peers confirm."""
    if visit.unsaved:
        _note_late(visit)
        await manager.save_async(visit)
        visit.answered = True


def _note_late(visit: Visit) -> None:
    """Have no new session begin, of which a client that is gone would never hear.

    One that is stored moves to its new id all the same, if the headers did not go out before: a
    login under the old id would be one for whoever has planted it.
    """
    if visit.key is None:
        visit.answered = True


class LateBody:
    """Is the body of a WSGI response as the server gets it; its close commits what changed late.

    before_part: called before each part goes out, and once more at the end.
    """

    def __init__(
        self,
        manager: SessionManager,
        visit: Visit,
        body: Iterable[bytes],
        before_part: Callable[[], None] = lambda: None,
    ) -> None:
        self._manager = manager
        self._visit = visit
        # Kept as long as this body, for a server that closes it twice.
        self._session = visit.session
        self._body = body
        self._iterator: Iterator[bytes] = iter(body)
        self._before_part = before_part
        self._failed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            part = next(self._iterator)
            # A generator calls start_response at its first step and not before.
            self._before_part()
        except StopIteration:
            self._before_part()
            # Everything has gone out; who closes the body, as test clients may not, may come late.
            self._manager.leave(self._visit)
            raise
        except BaseException:
            self._failed = True
            raise
        return part

    def close(self) -> None:
        """Close the application's body, then commit what is left."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            try:
                if not self._failed:
                    save_late(self._manager, self._visit)
            finally:
                self._manager.close(self._visit)
