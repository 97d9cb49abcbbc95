"""What a session asks of whoever opened it."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from clustersession.session.session import Session
    from clustersession.session.users import ClusterSessions
    from clustersession.session.watch import SessionChange


class SessionKeeper(Protocol):
    """What a session asks of its manager."""

    @property
    def longest_life_s(self) -> float:
        """The longest lifetime that a session may ask for."""
        ...

    def watch(self, session: "Session") -> "AsyncIterator[SessionChange]":
        """Changes of a session made anywhere."""
        ...

    def sessions(self) -> "ClusterSessions":
        """Users' sessions across the cluster."""
        ...

    def save(self, session: "Session") -> None:
        """Write and confirm now."""
        ...

    async def asave(self, session: "Session") -> None:
        """Write and confirm now, without blocking the event loop while peers confirm."""
        ...

    def reload(self, session: "Session") -> bool:
        """Take over what others wrote; False when the session has ended."""
        ...

    async def areload(self, session: "Session") -> bool:
        """``reload`` without blocking the event loop while peers are asked."""
        ...

    def now_ms(self) -> int:
        """Wall-clock milliseconds."""
        ...

    def idle_timeout_s_for(self, permanent: bool) -> float:
        """The idle timeout of a session that asks for none itself."""
        ...

    def undecodable(self, key: str, name: str, error: Exception) -> None:
        """Count and log an attribute that cannot be read."""
        ...
