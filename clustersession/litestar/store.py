"""Offers a store for Litestar's own server-side sessions, which the cluster shares.

    app = Litestar(
        middleware=[ServerSideSessionConfig().middleware],
        stores={"sessions": ClusterStore(distributable=True)},
    )

Litestar makes the ids, and takes whatever id a client sends. They are not signed by us, so none of
them is ever used as a key: the key is an HMAC of it under the cluster's secret, which meets no key
of ours and tells whoever reads the disk nothing.

A value that was deleted stays deleted for every request that had read it, on this node and on the
others: what such a request writes afterwards is dropped. An id can be used again all the same,
because a browser may hold on to its cookie: its next value is kept as another generation, under
another key.
"""

import hmac
import logging
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import timedelta
from types import TracebackType
from typing import Any

from litestar.stores.base import Store

from clustersession.core.errors import ConfigurationError, SessionTooLarge
from clustersession.core.ids import log_name
from clustersession.core.state import (
    ENDED_INVALIDATED,
    IDLE_TIMEOUT,
    Change,
    Creation,
    SessionState,
    access_coarseness_ms,
    encode_ms,
)
from clustersession.net.async_library import pause
from clustersession.session.lifetimes import is_live
from clustersession.session.manager import SessionManager
from clustersession.worker.runtime import Runtime

_log = logging.getLogger("clustersession")

GENERATIONS_MAX = 16
"""How often one id can be used again after a deletion, within the absolute timeout."""

FETCHES_MAX = 16
"""Requests of one process that may ask the peers for an unknown id at the same time."""

DELETED_AT_ONCE = 500
_VALUE, _EXPIRES = "value", "expires_ms"
_NOTES_MAX = 16

_read: ContextVar[dict[str, str]] = ContextVar("clustersession_read")
"""Per request: the key behind each id that it has read."""


class ClusterStore(Store):
    """Keeps values under ids that Litestar makes, replicated like sessions.

    name: of this store; stores with different names do not see each other's values.
    runtime: of a ClusterSessionPlugin in the same application, instead of options.

    A value ends when its ``expires_in`` is over, and at the absolute timeout at the latest, counted
    from the first ``set``: what ``absolute_timeout_s`` says, or else four times the first
    ``expires_in`` and at least the default. Expiry is exact; renewing is put off until a twentieth
    of the time is over, so that reading writes little.
    """

    def __init__(
        self, *, name: str = "litestar", runtime: Runtime | None = None, **options: Any
    ) -> None:
        if re.fullmatch(r"[a-z0-9_]{1,32}", name) is None:
            raise ConfigurationError(f"name is {name!r}; it must be 1 to 32 of a-z 0-9 _")
        self.runtime = runtime or Runtime.from_options(options)
        self._owns_runtime = runtime is None
        # A dot is in no key of a session.
        self._prefix = f"{name}."
        self._fetching = 0

    async def __aenter__(self) -> None:
        """Join the cluster; called by Litestar when the server starts."""
        self.runtime.start()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Let go of what was opened; called by Litestar when the server stops."""
        if self._owns_runtime:
            self.runtime.close()

    async def set(
        self, key: str, value: str | bytes, expires_in: int | timedelta | None = None
    ) -> None:
        """Keep a value. Raises SessionTooLarge above ``attribute_bytes_max``."""
        manager = self.runtime.manager()
        data = value.encode() if isinstance(value, str) else bytes(value)
        if len(data) > manager.settings.attribute_bytes_max:
            raise SessionTooLarge(
                f"a value of {len(data)} bytes; attribute_bytes_max is "
                f"{manager.settings.attribute_bytes_max}"
            )
        now_ms, life_ms = manager.now_ms(), _milliseconds(expires_in)
        noted = _notes().get(self._prefix + key)
        state = None if noted is None else manager.replica.get(noted)
        if noted is not None and state is not None and state.ended is not None:
            manager.counters.lost_writes += 1
            _log.info("session %s ended during a request that wrote to it; dropped",
                      log_name(noted))
            return
        place, state = await self._find(manager, key)
        sets = {_VALUE: data, **_lifetime(now_ms, life_ms)}
        if state is not None:
            if state.registers[_VALUE].value == data and _expires_alike(state, now_ms, life_ms):
                return
            await manager.write_async([Change(place, now_ms, sets)])
            return
        # Whose it is nobody here knows: any visitor may be the cause of it.
        creation = Creation(
            now_ms, now_ms + self._absolute_ms(manager, life_ms), life_ms,
            manager.settings.new_sessions_per_second_max,
        )
        free = next((k for k in self._keys(manager, key) if manager.replica.get(k) is None), None)
        if free is None:
            _log.error("an id of %s was used again too often; its value is not stored",
                       self._prefix[:-1])
            return
        if not await manager.write_async([Change(free, now_ms, sets, creation=creation)]):
            manager.context.warnings.refused_new_session()

    async def get(self, key: str, renew_for: int | timedelta | None = None) -> bytes | None:
        """Return the value, or None when there is none or it has expired."""
        manager = self.runtime.manager()
        place, state = await self._find(manager, key)
        if state is None:
            return None
        _note(self._prefix + key, place)
        now_ms, life_ms = manager.now_ms(), _milliseconds(renew_for)
        if life_ms and _expires_ms(state) and not _expires_alike(state, now_ms, life_ms):
            # As for an access to a session, nobody waits.
            manager.write_unconfirmed([Change(place, now_ms, _lifetime(now_ms, life_ms))])
        return state.registers[_VALUE].value

    async def delete(self, key: str) -> None:
        """End the value on every node."""
        manager = self.runtime.manager()
        place, state = await self._find(manager, key)
        _forget(self._prefix + key)
        if state is not None:
            end = Change(place, manager.now_ms(), end=ENDED_INVALIDATED)
            await manager.write_async([end])

    async def delete_all(self) -> None:
        """End every value of this store that this node holds now.

        It walks over all sessions of the node, 500 at a time, and lets other requests in between.
        What another node is still about to send, and what is set meanwhile, may stay.
        """
        manager = self.runtime.manager()
        after = ""
        while keys := manager.replica.keys(after, DELETED_AT_ONCE):
            after = keys[-1]
            now_ms = manager.now_ms()
            ends = [
                Change(key, now_ms, end=ENDED_INVALIDATED)
                for key in keys
                if key.startswith(self._prefix) and is_live(manager.replica.get(key), now_ms)
            ]
            if ends:
                await manager.write_async(ends)
            await pause(0)

    async def exists(self, key: str) -> bool:
        """Tell whether there is a value that has not expired."""
        return (await self._find(self.runtime.manager(), key))[1] is not None

    async def expires_in(self, key: str) -> int | None:
        """Return the seconds until the value expires, None without one, -1 when it never does.

        As in Litestar's own stores.
        """
        manager = self.runtime.manager()
        _, state = await self._find(manager, key)
        if state is None:
            return None
        expires_ms = _expires_ms(state)
        return (expires_ms - manager.now_ms()) // 1000 if expires_ms else -1

    # --- the keys -------------------------------------------------------------------------------

    def _keys(self, manager: SessionManager, key: str) -> Iterator[str]:
        """Name the places of an id's values, one for each time that it was used."""
        # The first secret's places first; those of a secret that is being replaced are read too.
        for secret in manager.settings.secret:
            for generation in range(GENERATIONS_MAX):
                message = f"{self._prefix}\x00{generation}\x00{key}"
                data = message.encode("utf-8", "surrogatepass")
                digest = hmac.digest(secret.encode(), data, "sha256")
                yield self._prefix + urlsafe_b64encode(digest).rstrip(b"=").decode()

    async def _find(self, manager: SessionManager, key: str) -> tuple[str, SessionState | None]:
        found, absent = self._here(manager, key)
        if found is not None and manager.cluster.contact.is_apart():
            await manager.context.cluster.fetch_async(found[0])
            found, absent = self._here(manager, key)
        asked = None
        # Where an id was used again, a peer answers with the end of its first value: ask on.
        while found is None and absent is not None and absent != asked:
            if self._fetching >= FETCHES_MAX:
                break
            self._fetching += 1
            try:
                await manager.context.cluster.fetch_async(absent)
            finally:
                self._fetching -= 1
            asked = absent
            found, absent = self._here(manager, key)
        return found or ("", None)

    def _here(
        self, manager: SessionManager, key: str
    ) -> tuple[tuple[str, SessionState] | None, str | None]:
        """Find the live value on this node, or the first place where there is nothing."""
        now_ms = manager.now_ms()
        absent: str | None = None
        for place in self._keys(manager, key):
            state = manager.replica.get(place)
            if state is None:
                absent = absent or place
            elif is_live(state, now_ms) and _VALUE in state.registers:
                expires_ms = _expires_ms(state)
                if not expires_ms or now_ms < expires_ms:
                    return (place, state), None
        return None, absent

    def _absolute_ms(self, manager: SessionManager, life_ms: int) -> int:
        settings = manager.settings
        absolute_ms = round(settings.effective_absolute_timeout_s * 1000)
        return absolute_ms if settings.absolute_timeout_s else max(absolute_ms, 4 * life_ms)


def _milliseconds(duration: int | timedelta | None) -> int:
    if duration is None:
        return 0
    seconds = duration.total_seconds() if isinstance(duration, timedelta) else duration
    return max(round(seconds * 1000), 0)


def _lifetime(now_ms: int, life_ms: int) -> dict[str, bytes]:
    return {
        _EXPIRES: encode_ms(now_ms + life_ms if life_ms else 0), IDLE_TIMEOUT: encode_ms(life_ms),
    }


def _expires_ms(state: SessionState) -> int:
    register = state.registers.get(_EXPIRES)
    return int(register.value) if register is not None and register.value else 0


def _expires_alike(state: SessionState, now_ms: int, life_ms: int) -> bool:
    """Tell whether a value expires about when it would if it were written again."""
    expires_ms = _expires_ms(state)
    if not life_ms or not expires_ms:
        return not life_ms and not expires_ms
    return 0 <= now_ms + life_ms - expires_ms < access_coarseness_ms(life_ms)


def _notes() -> dict[str, str]:
    return _read.get({})


def _note(name: str, place: str) -> None:
    notes = dict(_notes())
    notes.pop(name, None)
    notes[name] = place
    _read.set(dict(list(notes.items())[-_NOTES_MAX:]))


def _forget(name: str) -> None:
    _read.set({n: place for n, place in _notes().items() if n != name})


__all__ = ["ClusterStore"]
