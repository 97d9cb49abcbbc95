"""What changes after the headers went out is committed too; only no cookie can follow any more."""

from clustersession.session.manager import SessionManager
from clustersession.session.session import Session


def save_late(manager: SessionManager, session: Session) -> None:
    """Commit what changed since the response went out. Raises what ``manager.save`` raises."""
    # After a refused commit there is nothing: it would only be refused once more.
    if session.unsaved:
        session.sealed = True
        manager.save(session)


async def save_late_async(manager: SessionManager, session: Session) -> None:
    """``save_late`` without blocking the event loop while peers confirm."""
    if session.unsaved:
        session.sealed = True
        await manager.asave(session)
