"""A store comes, goes and comes back: what its owner is told, and that no answer is half of one."""

import asyncio
import time
from dataclasses import replace
from itertools import pairwise

import pytest
import uvloop

from clustersession.core.errors import StoreError
from clustersession.core.feed import Cursor
from clustersession.core.revocation import revocation_key
from clustersession.core.state import Ended, Register, SessionState
from clustersession.net.store import client
from clustersession.net.store.calls import BEATS_KEPT_MS
from clustersession.net.store.client import PAUSE_S_MAX
from clustersession.node.store_calls import (
    Beat,
    Beats,
    Damaged,
    Enter,
    Forget,
    IndexEntry,
    KeepCursor,
    Merge,
    Read,
    ReadIndex,
)
from clustersession.store.library import MergeAnswer, source
from tests.net.store.owner import (
    FAR_MS,
    NODE,
    OTHER,
    Noting,
    calls_of,
    connected,
    connecting,
    eventually,
    state,
)
from tests.store.servers import Server


async def test_a_group_is_answered_in_its_order(empty: Server) -> None:
    async with connected(empty.url) as owner:
        group = (
            Read("k"), Merge("k", state(), True), Read("k"), Merge("k", state(), False),
            Merge("other", state(), False), KeepCursor(NODE, Cursor(1, 2, 3)), Beat(NODE, b"hello"),
        )  # fmt: skip
        *answers, beats = await owner.ask(*group)
        assert answers == [
            None, MergeAnswer.DONE, state(), MergeAnswer.SAME, MergeAnswer.WHOLE_COPY_WANTED, None,
        ]  # fmt: skip
        assert beats.cursor == Cursor(1, 2, 3)
        assert abs(beats.wall_ms - time.time() * 1000) < 60_000
        assert len(beats.memory) == 16
        assert beats.members == {}


def test_the_event_loop_of_the_agent_will_do(empty: Server) -> None:
    async def use() -> None:
        async with connected(empty.url) as one, connected(empty.url) as two:
            assert await one.ask(Merge("k", state(b"x" * 2**20), True)) == [MergeAnswer.DONE]
            await two.ask(Merge("k", state(at=2), True))
            await eventually(lambda: one.changed == {"k"}, 5.0, one)
            empty.admin.execute_command("CLIENT", "KILL", "TYPE", "normal")
            await eventually(lambda: len(one.all("up")) == 2, 5.0, one)

    uvloop.run(use())


async def test_groups_are_answered_in_their_order(empty: Server) -> None:
    async with connected(empty.url) as owner:
        sent = []
        for number in range(200):
            sent.append(owner.send(
                *(Merge(f"k{number}.{n}", state(b"x" * 200), True) for n in range(20)),
                KeepCursor(NODE, Cursor(number, number, number)), Beat(NODE, b"n"),
            ))  # fmt: skip
        await eventually(lambda: sent[-1] in owner.answers, 30.0, owner)
        assert owner.all("answered") == sent
        # A beat never tells less than what has been answered before.
        for number, group in enumerate(sent):
            assert owner.answers[group][-1].cursor == Cursor(number, number, number)


async def test_only_the_writes_of_others_are_told(empty: Server) -> None:
    async with connected(empty.url) as one, connected(empty.url) as two:
        await one.ask(Merge("written", state(), True), Read("missing"))
        await two.ask(Merge("written", state(at=2), False), Merge("missing", state(), True))
        await eventually(lambda: one.changed == {"written", "missing"}, 5.0, one)
        # Two has read nothing: to have written is enough, time after time.
        for at in (3, 4):
            two.told.clear()
            await one.ask(Merge("written", state(at=at), False))
            await eventually(lambda: two.changed == {"written"}, 5.0, two)
            await two.ask(Merge("written", state(at=at, node=OTHER), False))
        # So is to have written what was there already.
        two.told.clear()
        assert await two.ask(Merge("written", state(at=4, node=OTHER), False)) == [MergeAnswer.SAME]
        await one.ask(Merge("written", state(at=8), False))
        await eventually(lambda: two.changed == {"written"}, 5.0, two)
        one.told.clear()
        await one.ask(Merge("written", state(at=9), False), Read("missing"), Read("unknown"))
        assert not one.all("changed")


async def test_what_changes_nothing_is_not_told(empty: Server) -> None:
    async with connected(empty.url) as one, connected(empty.url) as two:
        await one.ask(Merge("k", state(), True))
        await two.ask(Merge("k", state(), True), Merge("k", state(), False))
        await one.ask(Read("k"))
        assert not one.all("changed")


async def test_a_session_that_has_gone_is_told(empty: Server) -> None:
    async with connected(empty.url) as owner:
        await owner.ask(Merge("k", state(), True))
        empty.admin.pexpire(calls_of().keys.session("k"), 30)
        # Once the server has noticed, as it does when somebody looks.
        await eventually(lambda: not empty.admin.exists(calls_of().keys.session("k")))
        await eventually(lambda: owner.changed == {"k"}, 5.0, owner)
        assert await owner.ask(Read("k")) == [None]


async def test_members_see_each_other_as_long_as_they_beat(empty: Server) -> None:
    async with connected(empty.url) as one, connected(empty.url) as two:
        await one.ask(Beat(NODE, b"I am one"))
        [seen] = await two.ask(Beat(OTHER, b"I am two"))
        assert seen.members[NODE][0] == b"I am one"
        assert 0 <= seen.members[NODE][1] < 3_000
        await one.ask(Beat(NODE, b""))
        assert (await two.ask(Beat(OTHER, b"still here")))[0].members[NODE][0] == b""
        [seen] = await one.ask(Beat(NODE, b"again"))
        assert seen.members.keys() == {OTHER}


async def test_who_is_silent_is_dropped_and_a_clock_that_jumped_is_none(empty: Server) -> None:
    keys = calls_of().keys
    async with connected(empty.url) as owner:
        await owner.ask(Beat(OTHER, b"two"))
        [(name, kept)] = empty.admin.hgetall(keys.members).items()  # type: ignore[union-attr]
        told = kept.partition(b":")[2]
        now_ms = int(time.time() * 1000)
        empty.admin.hset(keys.members, name, b"%d:%b" % (now_ms - BEATS_KEPT_MS - 1_000, told))
        assert (await owner.ask(Beat(NODE, b"one")))[0].members == {}
        assert not empty.admin.hexists(keys.members, name)
        empty.admin.hset(keys.members, name, b"%d:%b" % (now_ms + 3_600_000, told))
        assert (await owner.ask(Beat(NODE, b"one")))[0].members == {OTHER: (b"two", 0, False)}
        kept = empty.admin.hget(keys.members, name)  # type: ignore[assignment]
        assert int(kept.partition(b":")[0]) < now_ms + 60_000


async def test_members_of_another_secret_are_none_and_beats_cannot_be_moved(
    empty: Server,
) -> None:
    keys = calls_of().keys
    async with connected(empty.url) as one, connected(empty.url, calls_of(b"z" * 32)) as stranger:
        await one.ask(Beat(NODE, b"I am one"))
        assert (await stranger.ask(Beat(OTHER, b"stranger")))[0].members == {}
        kept = empty.admin.hget(keys.members, NODE.hex())
        await one.ask(Beat(NODE, b"I am newer"))
        empty.admin.hset(keys.members, OTHER.hex(), kept)  # type: ignore[arg-type]
        [seen] = await one.ask(Beat(b"node-six", b"six"))
        assert seen.members.keys() == {NODE}
        assert seen.members[NODE][0] == b"I am newer"
        assert b"I am one" not in bytes(kept)  # type: ignore[arg-type]


async def test_clusters_of_other_names_share_a_store(empty: Server) -> None:
    async with connected(empty.url) as one:
        async with connected(empty.url, calls_of(cluster_name="blog")) as two:
            await one.ask(Merge("k", state(), True), Beat(NODE, b"x"))
            read, beats = await two.ask(Read("k"), Beat(OTHER, b"y"))
            assert (read, beats.members) == (None, {})


async def test_what_another_secret_sealed_cannot_be_read_and_stays(empty: Server) -> None:
    async with connected(empty.url) as one, connected(empty.url, calls_of(b"z" * 32)) as two:
        await one.ask(Merge("k", state(), True))
        assert await two.ask(Read("k")) == [Damaged((), is_foreign=True)]
        assert await two.ask(Merge("k", state(at=2), True), Read("k")) == [
            MergeAnswer.DONE, Damaged((), is_foreign=True)
        ]
        async with connected(empty.url, calls_of(b"s" * 32, b"z" * 32)) as both:
            assert await both.ask(Read("k")) == [state(at=2)]


async def test_what_is_no_hash_does_not_stand_in_the_way(empty: Server) -> None:
    empty.admin.set(calls_of().keys.session("k"), "a text")
    async with connected(empty.url) as owner:
        assert await owner.ask(Read("k")) == [Damaged()]
        assert await owner.ask(Merge("k", state(), False)) == [MergeAnswer.WHOLE_COPY_WANTED]
        empty.admin.set(calls_of().keys.session("k"), "a text")
        assert await owner.ask(Merge("k", state(), True), Read("k")) == [MergeAnswer.DONE, state()]
        assert not owner.reasons


async def test_what_stands_in_the_place_of_a_users_keys_goes_when_they_are_told(
    empty: Server
) -> None:
    record = revocation_key(TAG)
    async with connected(empty.url) as owner:
        for call in (ReadIndex(TAG), Read(record)):
            empty.admin.set(calls_of().keys_of(call)[0], "a text")
        answers = await owner.ask(Forget(TAG, [ENTRY]), ReadIndex(TAG), Read(record))
        assert answers == [None, Damaged(), Damaged()]
        told = await owner.ask(Enter(TAG, ENTRY, FAR_MS), Merge(record, state(), True))
        assert told == [MergeAnswer.DONE] * 2
        assert await owner.ask(ReadIndex(TAG), Read(record)) == [(ENTRY,), state()]
        assert not owner.reasons


async def test_a_damaged_record_of_a_revocation_is_mended(empty: Server) -> None:
    record = revocation_key(TAG)
    name = calls_of().keys_of(Read(record))[0]
    async with connected(empty.url) as owner:
        await owner.ask(Merge(record, state(), True))
        field = next(f for f in empty.admin.hkeys(name) if f.startswith(b"r"))
        forged = empty.admin.hget(name, field)[:-1] + b"?"
        empty.admin.hset(name, mapping={field: forged, b"ra": b"malformed"})
        [read] = await owner.ask(Read(record))
        assert isinstance(read, Damaged)
        assert not read.is_foreign
        answers = await owner.ask(Merge(record, state(), True, read.parts), Read(record))
        assert answers == [MergeAnswer.DONE, state()]
        assert not owner.reasons


async def test_a_part_is_no_answer_to_what_was_damaged(empty: Server) -> None:
    """Else who reads next has a session without what was malformed, and takes it for whole."""
    async with connected(empty.url) as owner:
        await owner.ask(Merge("k", state(), True))
        name = calls_of().keys.session("k")
        field = next(f for f in empty.admin.hkeys(name) if f.startswith(b"r"))
        empty.admin.hset(name, field, b"malformed")
        later = SessionState(1, 3, FAR_MS, {}, {NODE: 2}, None)
        assert await owner.ask(Merge("k", later, False)) == [MergeAnswer.WHOLE_COPY_WANTED]
        whole = SessionState(1, 3, FAR_MS, state().registers, {NODE: 2}, None)
        assert await owner.ask(Merge("k", whole, True), Read("k")) == [MergeAnswer.DONE, whole]


async def test_what_stands_in_the_place_of_the_nodes_keys_goes(empty: Server) -> None:
    keys = calls_of().keys
    for wrong in ({}, {"type": 1}, {"size": 1}):
        empty.admin.flushall()
        for key in (keys.members, keys.memory, keys.cursor(NODE)):
            if wrong:
                empty.admin.rpush(key, "x") if "type" in wrong else None
                empty.admin.set(key, "x" * 70_000_000) if "size" in wrong else None
        async with connected(empty.url) as owner:
            for _ in range(2):
                beats = (await owner.ask(Beat(NODE, b"x")))[0]
                assert isinstance(beats, Beats)
                assert beats.cursor is None
            assert not owner.reasons


async def test_members_that_nobody_is_cost_little(empty: Server) -> None:
    members = calls_of().keys.members
    async with connected(empty.url) as one, connected(empty.url) as two:
        await one.ask(Beat(OTHER, b"here"))
        empty.admin.hset(members, mapping={"x": "y", "huge": "1:" + "z" * 20_000, "": ""})
        assert list((await two.ask(Beat(NODE, b"x")))[0].members) == [OTHER]
        empty.admin.hset(members, mapping={f"{n:016x}": "9" * 20 + ":z" for n in range(2000)})
        assert (await two.ask(Beat(NODE, b"x")))[0].members == {}
        await one.ask(Beat(OTHER, b"here"))
        assert list((await two.ask(Beat(NODE, b"x")))[0].members) == [OTHER]


TAG, ENTRY = b"t" * 16, IndexEntry("k", (1, NODE, 1))
FIELDS = [
    (b"d", b""), (b"d", b"!"), (b"a", b"z" * 16), (b"c", b""), (b"c", b"x" * 16),
    (b"c", b"f" * 16), (b"d", b"+000000000000001"), (b"a", b"0"),
    (b"v0", b"0" * 16), (b"v" + b"0" * 16, b"1"), (b"v" + b"Z" * 16, b"0" * 16), (b"ra", b""),
    (b"v" + b"\xff" * 16, b"0" * 16), (b"ra", b"0" * 48 + b"2"), (b"i", b"0" * 48),
    (b"i", b"7" + b"f" * 15 + b"0" * 32 + b"7"), (b"e", b""), (b"e", b"0" * 32 + b"\xff"),
    (b"e", b"zz" * 20), (b"", b""), (b"zz", b"of another form"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), FIELDS)
async def test_who_holds_a_damaged_session_mends_it(
    field: bytes, value: bytes, empty: Server
) -> None:
    name = calls_of().keys.session("k")
    async with connected(empty.url) as owner:
        await owner.ask(Merge("k", state(), True))
        empty.admin.hset(name, field, value)
        [read] = await owner.ask(Read("k"))
        if isinstance(read, Damaged):
            assert not read.is_foreign
            parts = tuple(read.parts)
            answers = await owner.ask(Merge("k", state(), True, parts), Read("k"))
            assert answers == [MergeAnswer.DONE, state()]
        else:
            assert read == state()
        assert not owner.reasons


@pytest.mark.parametrize(("field", "value"), FIELDS)
async def test_a_merge_passes_by_what_is_malformed(
    field: bytes, value: bytes, empty: Server
) -> None:
    """Also of who has not read it: else one field would stop every host that writes the session."""
    async with connected(empty.url) as owner:
        await owner.ask(Merge("k", state(), True))
        empty.admin.hset(calls_of().keys.session("k"), field, value)
        [answer] = await owner.ask(Merge("k", state(at=2), False))
        assert answer in (MergeAnswer.DONE, MergeAnswer.WHOLE_COPY_WANTED)
        assert await owner.ask(Merge("k", state(at=3), True)) == [MergeAnswer.DONE]
        assert not owner.reasons


async def test_a_sealed_value_is_taken_where_it_belongs_alone(empty: Server) -> None:
    """Whoever may write can put an older one back, which whoever holds a newer one mends."""
    names = [calls_of().keys.session(key) for key in ("k", "l")]
    async with connected(empty.url) as owner:
        await owner.ask(Merge("k", state(), True), Merge("l", state(b"other"), True))
        older, other = (empty.admin.hgetall(name) for name in names)
        await owner.ask(Merge("k", state(b"new", at=2), True))
        empty.admin.hset(names[0], mapping=older)
        assert (await owner.ask(Read("k")))[0].registers == state().registers
        assert await owner.ask(Merge("k", state(b"new", at=2), True), Read("k")) == [
            MergeAnswer.DONE, state(b"new", at=2)
        ]
        empty.admin.hset(names[0], mapping=other)
        [read] = await owner.ask(Read("k"))
        assert isinstance(read, Damaged)
        assert await owner.ask(
            Merge("k", state(b"new", at=2), True, tuple(read.parts)), Read("k")
        ) == [MergeAnswer.DONE, state(b"new", at=2)]


async def test_what_is_too_large_to_be_read_costs_its_session_alone(empty: Server) -> None:
    async with connected(empty.url) as owner:
        await owner.ask(Merge("k", state(), True), Merge("l", state(), True))
        empty.admin.hset(calls_of().keys.session("k"), "zz", b"x" * 70_000_000)
        assert await owner.ask(Read("k"), Read("l")) == [Damaged(), state()]
        assert await owner.ask(Merge("k", state(), True), Read("k")) == [MergeAnswer.DONE, state()]
        assert not owner.reasons


async def test_a_flush_is_told_and_the_memory_is_another(empty: Server) -> None:
    async with connected(empty.url) as owner:
        [before] = await owner.ask(KeepCursor(NODE, Cursor(1, 1, 1)), Beat(NODE, b"x")),
        empty.admin.flushall()
        await eventually(lambda: None in owner.all("changed"), 5.0, owner)
        [after] = await owner.ask(Beat(NODE, b"x"))
        assert isinstance(after, Beats)
        assert after.cursor is None
        assert after.memory != before[1].memory


async def test_functions_that_were_removed_are_loaded_again(empty: Server) -> None:
    async with connected(empty.url) as owner:
        await owner.ask(KeepCursor(NODE, Cursor(1, 1, 1)))
        empty.admin.function_flush()
        owner.send(Merge("k", state(), True), KeepCursor(NODE, Cursor(2, 2, 2)))
        await eventually(lambda: len(owner.all("up")) == 2, 5.0, owner)
        # What tells of the data does not go where that was refused.
        assert empty.admin.get(calls_of().keys.cursor(NODE)) == b"1 1 1"
        assert await owner.ask(Merge("k", state(), True)) == [MergeAnswer.DONE]


async def test_a_server_killed_in_the_middle_of_a_group_answers_none_of_it(server: Server) -> None:
    async with connected(server.url) as owner:
        [before] = await owner.ask(Beat(NODE, b"x"))
        server.pause()
        numbers = [
            owner.send(*(Merge(f"k{n}", state(), True) for n in range(50))) for _ in range(20)
        ]
        # Time to be sent, so that it is there when the server dies.
        await asyncio.sleep(0.05)
        server.kill()
        await eventually(lambda: owner.reasons, 5.0, owner)
        assert not owner.answers.keys() & set(numbers)
        assert owner.send(Read("k")) not in owner.answers
        server.start()
        await eventually(lambda: len(owner.all("up")) == 2, 10.0, owner)
        [after] = await owner.ask(Beat(NODE, b"x"))
        assert after.memory != before.memory
        assert await owner.ask(Merge("k", state(), True)) == [MergeAnswer.DONE]


async def test_a_server_that_holds_its_breath_is_given_up_and_taken_again(server: Server) -> None:
    async with connected(server.url, silence_timeout_s=0.5) as owner:
        await owner.ask(Merge("k", state(), True))
        server.pause()
        number = owner.send(Read("k"))
        await eventually(lambda: owner.reasons, 5.0, owner)
        assert "does not answer in time" in owner.reasons[0]
        server.go_on()
        await eventually(lambda: len(owner.all("up")) == 2, 15.0, owner)
        assert number not in owner.answers
        assert await owner.ask(Read("k")) == [state()]


async def test_a_connection_that_its_owner_drops_is_made_again(empty: Server) -> None:
    async with connected(empty.url) as owner:
        assert owner.client is not None
        owner.client.drop()
        await eventually(lambda: len(owner.all("up")) == 2, 5.0, owner)
        assert owner.reasons == ["the store has said nothing for too long"]


async def test_an_idle_connection_is_not_given_up(empty: Server) -> None:
    # As long as a busy machine may take for an answer.
    async with connected(empty.url, silence_timeout_s=0.5) as owner:
        await owner.ask(Read("k"))
        await asyncio.sleep(1.2)
        await owner.ask(Read("k"))
        assert not owner.reasons


async def test_a_slow_server_with_much_to_do_is_not_sent_more_and_more(server: Server) -> None:
    async with connected(server.url, pending_bytes_max=2**20) as owner:
        server.pause()
        try:
            for number in range(40):
                owner.send(Merge(f"k{number}", state(b"x" * 100_000), True))
            await eventually(lambda: owner.reasons, 4.0, owner)
        finally:
            server.go_on()
        assert "too slow" in owner.reasons[0]
        await eventually(lambda: len(owner.all("up")) == 2, 10.0, owner)


async def test_huge_values_and_many_attributes(empty: Server) -> None:
    large = state(bytes(range(256)) * 2**15)
    many = SessionState(
        1, 2, FAR_MS, {f"name {n}": Register(1, NODE, 1, b"v" * 20) for n in range(20_000)},
        {NODE: 1}, None,
    )  # fmt: skip
    async with connected(empty.url, pending_bytes_max=2**20) as owner:
        assert await owner.ask(Merge("large", large, True)) == [MergeAnswer.DONE]
        assert await owner.ask(Merge("many", many, True)) == [MergeAnswer.DONE]
        assert await owner.ask(Read("large"), Read("many")) == [large, many]


@pytest.mark.parametrize("with_functions", [True, False])
async def test_a_full_store_takes_what_needs_no_space(
    server: Server, with_functions: bool
) -> None:
    if not with_functions:
        server.admin.acl_setuser("default", enabled=True, commands=["-function"])
    ended = SessionState(1, 2, FAR_MS, {}, {NODE: 3}, Ended(3, NODE, "gone"))
    # An access, by a node that has not written the session before.
    idle = SessionState(1, 2, FAR_MS, {}, {OTHER: 3}, None)
    record = revocation_key(b"t" * 16)
    async with connected(server.url) as owner:
        await owner.ask(*(Merge(key, state(), True) for key in ("k", "l", "m", "n")))
        server.admin.config_set("maxmemory", "1")
        group = (
            KeepCursor(NODE, Cursor(2, 2, 2)), Merge("new", state(), True), Read("l"),
            Merge("k", state(b"grown" * 9, at=2), False), Merge("l", state(b"w", at=2), False),
            Merge("m", ended, False), Merge("n", idle, False), Merge("gone", ended, True),
            Merge(record, state(), True), Enter(TAG, ENTRY, FAR_MS), Read("k"), ReadIndex(TAG),
            Beat(NODE, b"x"),
        )
        *answers, beats = await owner.ask(*group)
        taken, full = MergeAnswer.DONE, MergeAnswer.FULL
        assert answers == [
            None, full, state(), full, taken, taken, taken, taken, taken, taken, state(), (ENTRY,)
        ]
        assert await owner.ask(Read("m"), Read(record)) == [ended, state()]
        used = replace(state(b"grown" * 9, at=2), accessed_ms=9)
        assert await owner.ask(Merge("k", used, True)) == [full]
        assert await owner.ask(Read("k")) == [replace(state(), accessed_ms=9)]
        assert beats.cursor == Cursor(2, 2, 2)
        assert not owner.reasons
        server.admin.execute_command("CLIENT", "KILL", "TYPE", "normal")
        # It is let in again, though a full server takes no library.
        await eventually(lambda: len(owner.all("up")) == 2, 10.0, owner)
        assert await owner.ask(Read("l"), Merge("new", state(), True)) == [state(b"w", at=2), full]
        server.admin.config_set("maxmemory", "0")
        assert await owner.ask(Merge("new", state(), True)) == [taken]


async def test_a_full_server_that_was_never_used(server: Server) -> None:
    server.admin.config_set("maxmemory", "1")
    async with connected(server.url) as owner:
        assert await owner.ask(Read("k"), Merge("k", state(), True)) == [None, MergeAnswer.FULL]
        server.admin.config_set("maxmemory", "0")
        assert await owner.ask(Merge("k", state(), True)) == [MergeAnswer.DONE]


@pytest.mark.parametrize("with_functions", [True, False])
async def test_functions_that_are_forgotten_under_load_are_loaded_again(
    server: Server, with_functions: bool
) -> None:
    if not with_functions:
        server.admin.acl_setuser("default", enabled=True, commands=["-function"])
    async with connected(server.url) as owner:
        for at in range(1, 4):
            for number in range(50):
                owner.send(KeepCursor(NODE, Cursor(0, number)), Merge(f"k{number}", state(), True))
            server.admin.script_flush()
            if with_functions:
                server.admin.function_flush()
            await eventually(lambda: len(owner.all("up")) > at, 10.0, owner)  # noqa: B023
            assert all("has forgotten our functions" in said for said in owner.reasons)
            answers = await owner.ask(*(Merge(f"k{n}", state(at=at), True) for n in range(50)))
            assert set(answers) <= {MergeAnswer.DONE, MergeAnswer.SAME}


async def test_nodes_of_two_versions_share_a_store(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newer one loads its library beside the older one's, and both merge the same hash."""
    async with connected(server.url) as older:
        await older.ask(Merge("k", state(), True))
        newer = source().replace("clustersession4", "clustersession5")
        with monkeypatch.context() as patch:
            patch.setattr("clustersession.net.store.server.source", lambda: newer)
            patch.setattr("clustersession.net.store.server.MERGE", "clustersession5_merge")
            for name in ("BEAT", "KEEP", "MERGE", "ENTER", "SQUEEZE"):
                patch.setattr(f"clustersession.net.store.calls.{name}",
                              f"clustersession5_{name.lower()}")
            async with connected(server.url) as one:
                assert await one.ask(Merge("k", state(at=2), True)) == [MergeAnswer.DONE]
                beats = (await one.ask(KeepCursor(NODE, Cursor(1, 1)), Beat(NODE, b"new")))[1]
                assert beats.cursor == Cursor(1, 1)
        assert await older.ask(Merge("k", state(at=3), True), Read("k")) == [
            MergeAnswer.DONE, state(at=3)
        ]
        assert (await older.ask(Beat(OTHER, b"old")))[0].members[NODE][0] == b"new"
        assert len(server.admin.function_list()) == 2
        assert not older.reasons


async def test_a_cursor_may_go_before_the_data(empty: Server) -> None:
    """Then it promises that nothing beyond it will be there."""
    async with connected(empty.url) as owner:
        group = (
            KeepCursor(NODE, Cursor(1, 5, 5)), Merge("k", state(), True), Read("k"),
            KeepCursor(NODE, Cursor(5, 5, 5)), Beat(NODE, b"x"),
        )
        *answers, beats = await owner.ask(*group)
        assert answers == [None, MergeAnswer.DONE, state(), None]
        assert beats.cursor == Cursor(5, 5, 5)


async def test_a_store_that_drops_sessions_is_warned_of(server: Server) -> None:
    server.admin.config_set("maxmemory", "100mb")
    async with connected(server.url) as owner:
        assert not owner.all("warned")
    server.admin.config_set("maxmemory-policy", "allkeys-lru")
    async with connected(server.url) as owner:
        [text] = owner.all("warned")
        assert "maxmemory-policy allkeys-lru" in text
        assert "noeviction" in text


async def test_too_few_replicas_are_warned_of_and_the_write_is_answered(empty: Server) -> None:
    async with connected(empty.url, replicas=1) as owner:
        assert await owner.ask(Merge("k", state(), True), Read("k")) == [MergeAnswer.DONE, state()]
        assert "store_replicas asks for 1" in owner.all("warned")[0]
        owner.told.clear()
        await owner.ask(Read("k"), Beat(NODE, b"x"))
        assert not owner.all("warned")


async def test_replicas_are_waited_for_with_what_a_full_server_takes(server: Server) -> None:
    async with connected(server.url, replicas=1) as owner:
        await owner.ask(Merge("k", state(), True))
        owner.told.clear()
        server.admin.config_set("maxmemory", "1")
        ended = SessionState(1, 2, FAR_MS, {}, {NODE: 3}, Ended(3, NODE, "gone"))
        calls = Merge("k", ended, False), Merge("l", state(), True)
        assert await owner.ask(*calls) == [MergeAnswer.DONE, MergeAnswer.FULL]
        server.admin.config_set("maxmemory", "0")
        assert not owner.reasons


async def test_attempts_are_apart_and_a_reason_is_told_once(tmp_path: object) -> None:
    loop = asyncio.get_running_loop()
    attempts: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "clustersession.net.store.client.OpenStore",
            lambda plan, owner: _NeverThere(attempts, loop),
        )
        async with connecting(f"unix://{tmp_path}/none") as owner:
            await eventually(lambda: len(attempts) >= 5, 10.0, owner)
            assert owner.told == [("down", "not there")]
    gaps_s = [after - before for before, after in pairwise(attempts)]
    assert gaps_s[0] >= 0.05
    assert gaps_s[3] >= 0.4
    assert max(gaps_s) <= PAUSE_S_MAX


class _NeverThere:
    def __init__(self, attempts: list[float], loop: asyncio.AbstractEventLoop) -> None:
        attempts.append(loop.time())

    async def open(self, known: object) -> None:
        raise StoreError("not there")

    async def close(self) -> None:
        pass


async def test_nothing_is_told_and_nothing_left_after_the_end(server: Server) -> None:
    before = asyncio.all_tasks()
    async with connected(server.url) as owner:
        server.pause()
        owner.send(Merge("k", state(), True), Beat(NODE, b"x"))
    told = [*owner.told]
    server.go_on()
    await eventually(lambda: asyncio.all_tasks() <= before)
    await eventually(lambda: len(server.admin.client_list()) == 1)  # type: ignore[arg-type]
    assert owner.told == told == [("up", None)]


async def test_closing_while_it_connects(server: Server) -> None:
    server.pause()
    async with connecting(server.url) as owner:
        await asyncio.sleep(0.05)
    server.go_on()
    assert owner.told == []


async def test_an_owner_that_fails_is_not_left_without_a_store(
    empty: Server, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Noting):
        def store_answered(self, number: int, answers: object) -> None:
            raise RuntimeError("planted")

    async with connected(empty.url) as owner:
        owner.__class__ = Failing
        owner.send(Read("k"))
        await eventually(lambda: len(owner.all("up")) == 2, 5.0, owner)
        owner.__class__ = Noting
        assert await owner.ask(Read("k")) == [None]
    assert "planted" in caplog.text


async def test_cursors_are_kept_in_the_order_of_their_groups(empty: Server) -> None:
    async with connected(empty.url) as owner:
        owner.send(Merge("k", state(), True), KeepCursor(NODE, Cursor(1, 1, 1)))
        owner.send(Merge("l", state(), True))
        owner.send()
        owner.send(KeepCursor(NODE, Cursor(2, 2, 2)))
        last = owner.send(Read("k"))
        await eventually(lambda: last in owner.answers, 5.0, owner)
        assert empty.admin.get(calls_of().keys.cursor(NODE)) == b"2 2 2"


async def test_a_server_that_drops_sessions_is_told_of(
    empty: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "USAGE_INTERVAL_S", 0.05)
    async with connected(empty.url) as owner:
        assert owner.client is not None
        await eventually(lambda: owner.client and owner.client.usage, 5.0, owner)
        assert owner.client.dropped == 0
        empty.admin.config_set("maxmemory-policy", "allkeys-lru")
        empty.admin.config_set("maxmemory", owner.client.usage[0].memory_bytes + 2**20)
        try:
            for number in range(200):
                empty.admin.set(f"other application {number}", b"x" * 2**15)
            await eventually(lambda: any("drops sessions" in t for t in owner.all("warned")), 10.0)
            assert owner.client.dropped > 0
            # No more are dropped, so it is over.
            await eventually(lambda: owner.client and not owner.client.drops, 10.0, owner)
        finally:
            empty.admin.config_set("maxmemory", 0)
            empty.admin.config_set("maxmemory-policy", "noeviction")
