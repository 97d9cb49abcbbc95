"""Is the store as a peer: what parts tell a peer goes there as calls, and its answers come back.

It holds everything, and says nothing by itself but which sessions have changed. It is among the
peers, under the node id STORE, from the first answer to the end of the connection. Who else is
there is read from the heartbeats that all nodes leave in it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from clustersession.core.identity import Address, Phase
from clustersession.node.claims import Claims
from clustersession.node.confirmations import Confirmations
from clustersession.node.context import Context, Peer
from clustersession.node.effects import DropStore
from clustersession.node.heartbeat import HeartbeatSender
from clustersession.node.locator import Locator
from clustersession.node.lookup import SessionLookup
from clustersession.node.moment import Moment
from clustersession.node.near_cache import NearCache
from clustersession.node.own_edition import OwnEdition
from clustersession.node.store_calls import STORE, Beat, Beats, StoreAnswer
from clustersession.node.store_channel import StoreChannel
from clustersession.node.store_index import StoreIndex
from clustersession.node.store_members import StoreMembers
from clustersession.node.store_overflow import Overflow
from clustersession.node.store_reader import StoreReader
from clustersession.node.store_sender import StoreSender
from clustersession.node.store_users import StoreUsers
from clustersession.node.wrong_times import WrongTimes
from clustersession.wire.messages import Fetch, Heartbeat, Message, encode_message

LATE_SHARE = 1 / 3
"""Of the drop time, whose half is when a silence is suspicious: who is late is looked at before."""


class StorePeer:
    """Begins and ends the connection with the store, and beats into it."""

    def __init__(
        self,
        context: Context,
        members: StoreMembers,
        claims: Claims,
        confirmations: Confirmations,
        heartbeat: HeartbeatSender,
        lookup: SessionLookup,
        locator: Locator,
        wrong_times: WrongTimes,
        lose_past: Callable[[bytes], None],
    ) -> None:
        self._context = context
        self._members = members
        self._claims = claims
        self._confirmations = confirmations
        self._heartbeat = heartbeat
        self._lookup, self._wrong_times = lookup, wrong_times
        self._lose_past = lose_past
        self.channel = StoreChannel(context)
        index = StoreIndex()
        self.overflow = Overflow(context)
        self.reader = StoreReader(
            context, self.channel, index, lookup, locator, claims, self.overflow,
            lambda: lose_past(STORE),
        )
        self.sender = StoreSender(
            context, confirmations, heartbeat, self.channel, index, self.reader, self.overflow
        )
        self.near_cache = NearCache(context, self.channel, self.reader)
        self.users = StoreUsers(context, self.channel, self.reader, self.near_cache.stays)
        self.reader.taken = self.users.settle
        # The present moment, for what parts say like to a peer.
        self._at = Moment(0.0, 0)
        # What the store's memory was called at the last beat of this connection.
        self._memory: bytes | None = None
        # A beat is under way; another one is due when it is answered.
        self._beats = self._beats_again = False
        self._edition = OwnEdition(context.own)
        context.store = self._tell

    def succeed(self, before: "StorePeer") -> None:
        """Go on with the counts of the node's former life."""
        self.reader.refreshed = before.reader.refreshed
        self.near_cache.evicted = before.near_cache.evicted
        self.near_cache.evicted_early = before.near_cache.evicted_early
        self.sender.carried = before.sender.carried
        self.sender.grant = max(self.sender.grant, before.sender.grant)

    def now(self, at: Moment) -> None:
        """Note the moment; every call to the engine begins with it."""
        self._at = at

    def up(self, at: Moment) -> None:
        """Begin on a new connection. The first beat says where the store stands."""
        if self.channel.is_up:
            self.down(at)
        self.channel.open(at)
        self._heartbeat.soon(at)
        self._beat(self._heartbeat.message(at), at)

    def down(self, at: Moment) -> None:
        """Give up what the store owes us: it is away."""
        self.channel.close()
        self.sender.forget()
        self.reader.forget()
        self.users.forget()
        self.overflow.forget()
        self.near_cache.forget()
        self._members.forget()
        self._memory, self._beats, self._beats_again = None, False, False
        if self._context.peers.pop(STORE, None) is not None:
            self._lookup.forget(STORE)
            self._wrong_times.forget(STORE)
        self._confirmations.settle()

    def tick(self, at: Moment) -> None:
        """Do what a heartbeat interval brings: a beat goes by itself."""
        if self.channel.silent_s(at) > self._context.settings.drop_time_s:
            self._context.emit(DropStore())
        elif self._context.peers:
            self.sender.try_again(at)
            self.reader.try_again(at)
            self.overflow.tick(checked=self.reader.checked)
            self.near_cache.tick(at)
        elif self.channel.is_up and not self._beats:
            # Our past is lost, and there was no space for a new node id: it is to be told again.
            self._beat(self._heartbeat.message(at), at)

    def is_silent(self, at: Moment) -> bool:
        """Tell whether requests would wait in vain: the store has owed an answer for too long."""
        return self.channel.silent_s(at) > self._context.settings.fetch_timeout_s

    def changed(self, keys: Sequence[str] | None, at: Moment) -> None:
        """Take note of what others have changed; None: perhaps anything, and it may be emptied."""
        if keys is None:
            self.sender.renew_grant()
        self.reader.changed(keys, at)

    def grant_number(self) -> int | None:
        """Return the number of the grant that workers have; None while they may not write.

        While what is here is compared, the store may lack a part of any session, and most writes
        would come back.
        """
        return self.sender.grant if STORE in self._context.peers and self.reader.checked else None

    # ---- beats -----------------------------------------------------------------------------------

    def _tell(self, message: Message) -> None:
        match message:
            case Fetch(key):
                self.near_cache.stays.bring(key, self._at)
                self.reader.miss(key, self._at)
            case Heartbeat():
                self._beat(message, self._at)
            case _:
                # What nodes tell each other besides, the store has no use for.
                pass

    def _beat(self, message: Heartbeat, at: Moment) -> None:
        leaves = message.phase is Phase.LEAVING
        if self._beats and not leaves:
            self._beats_again = True
            return
        self._beats = True
        calls = self.sender.cursor_calls() if self._context.peers else ()
        # Nobody has a feed to be followed here, or an address to be dialled. Whom we suspect, the
        # others see for themselves.
        told = replace(message, cursors={}, members=(), heard=(), suspects=())
        gone_ms = round(self._context.settings.drop_time_s * 1000)
        beat = Beat(
            self._context.own.node, b"" if leaves else encode_message(told),
            self._edition.of(told, at), self._members.known, round(gone_ms * LATE_SHARE), gone_ms,
        )
        self.channel.ask([beat, *calls], self._beaten, at)

    def _beaten(self, answers: Sequence[StoreAnswer], at: Moment) -> None:
        beats, context = answers[0], self._context
        self._beats = False
        assert isinstance(beats, Beats)
        position = 0 if beats.cursor is None else beats.cursor.position
        if not self._claims.believes(STORE, position, reliable=True, provisional=False):
            self._lose_past(STORE)
            return
        self._wrong_times.on_heartbeat(STORE, beats.wall_ms, at)
        self.reader.skew_ms = beats.wall_ms - at.wall_ms
        # A store that was away, or has forgotten, says nothing of who has not told it again yet.
        told_before = STORE in context.peers and beats.memory == self._memory
        self._members.beaten(beats, at, told_before=told_before)
        if not context.discovered:
            context.discovered = context.view_is_stale = True
        if STORE not in context.peers:
            self._begin(beats, at)
        elif beats.memory != self._memory:
            self.sender.renew_grant()
            self.reader.check_all(at)
        self._memory = beats.memory
        if self._beats_again:
            self._beats_again = False
            self._heartbeat.soon(at)
        self._confirmations.settle()

    def _begin(self, beats: Beats, at: Moment) -> None:
        peer = self._context.peers[STORE] = Peer(STORE, Address("", 0))
        peer.greeted = True
        self.sender.resume(beats.cursor, at)
        self.reader.check_all(at)
        self._lookup.on_peer(peer)


