"""The decoders of what stands on the disk of a host, and of what browsers and operators send."""

from collections.abc import Callable
from pathlib import Path
from random import Random

from clustersession.agent.start import decode_start, encode_start, unknown_settings
from clustersession.core.errors import ConfigurationError, ReplicaUnusable, WireError
from clustersession.core.ids import ID_LENGTH, is_route, join_cookie, split_cookie
from clustersession.core.revocation import principal_tag, revocation_key, tag_of_revocation
from clustersession.core.serving_view import View
from clustersession.net.discovery import parse_seed
from clustersession.replica import tables
from clustersession.replica.home import NodeHome
from clustersession.requests.cookie import VALUES_MAX, cookie_values
from clustersession.session.events import KINDS, Event, Events
from clustersession.session.seen import WRITERS_MAX, SeenTokens
from clustersession.session.token import IdSigner
from clustersession.settings.settings import Settings
from clustersession.wire.local import decode_answer, encode_answer
from clustersession.wire.records import encode_state
from clustersession.worker.agent_events import AgentEvents
from tests.fuzzing import samples
from tests.fuzzing.target import Broken, Target, round_trip

_SIGNER = IdSigner([b"secret one", b"secret two"])
_TOKENS = SeenTokens(_SIGNER)


# ---- the replica ---------------------------------------------------------------------------------


def _record(rng: Random) -> bytes:
    numbers = (samples.number(rng), samples.number(rng), rng.getrandbits(64))
    return tables.encode_record(*numbers, samples.state(rng))


def _check_record(data: bytes) -> bool:
    try:
        record = tables.decode_record(data)
    except WireError:
        return False
    if record.state != tables.state_of_record(data):
        raise Broken("two readings of one record differ")
    if record.state is None:
        return False
    again = tables.decode_record(
        tables.encode_record(record.feed_seq, record.expiry_ms, record.entry_hash, record.state)
    )
    if again[:3] != record[:3] or again.state != record.state:
        raise Broken(f"decoded to {record!r:.300} and then to {again!r:.300}")
    return True


def _head(rng: Random) -> bytes:
    return tables.encode_head(
        tables.Head(samples.node(rng), *(samples.number(rng) for _ in range(3)))
    )


def _view(rng: Random) -> bytes:
    routes = frozenset(samples.identity(rng).route for _ in range(rng.randint(0, 4)))
    return View(routes, rng.random() < 0.5).encode()


def _check_view(data: bytes) -> bool:
    """Whatever stands there, workers go on; what the agent can have written is read as it was."""
    view = View.decode(data)
    if not isinstance(view.serving, frozenset) or type(view.draining) is not bool:
        raise Broken(f"no view: {view!r:.300}")
    if not all(map(is_route, view.serving)):
        return False
    if View.decode(view.encode()) != view:
        raise Broken(f"another view: {view!r:.300}")
    return True


def _table_key(rng: Random) -> bytes:
    return tables.expiry_key(samples.number(rng), samples.key(rng))


def _check_table_key(data: bytes) -> bool:
    return _all_of(
        data, tables.split_expiry, tables.key_of_session, tables.seq_of_feed,
        tables.bucket_of_digest, tables.decode_digest,
    )


def _principal(rng: Random) -> bytes:
    tag = principal_tag(rng.choice(("ann", "bob", "")))
    if rng.random() < 0.5:
        return revocation_key(tag).encode()
    return tables.principal_key(tag, samples.key(rng))


def _check_principal(data: bytes) -> bool:
    """A key of a session names a user's revocation or nobody's; an entry a session."""
    tag = tag_of_revocation(data.decode("latin-1"))
    if tag is not None and revocation_key(tag).encode() != data:
        raise Broken(f"two keys for one revocation: {data!r}")
    return _all_of(data, tables.session_of_principal)


def _event(rng: Random) -> bytes:
    kind = rng.choice((*KINDS, "to come"))
    state = encode_state(samples.state(rng)) if rng.random() < 0.7 else None
    return encode_answer(0, [kind, samples.key(rng), state, ["cart"], rng.choice((None, "limit"))])


def _check_event(data: bytes) -> bool:
    """Whatever the agent says, the worker's listening goes on, and what is told can be read."""
    try:
        event = decode_answer(data).value
    except WireError:
        return False
    if not isinstance(event, list) or len(event) < 5:
        return False
    told: list[Event] = []
    events = Events()
    for kind in KINDS:
        events.on(kind, told.append)
    listening = AgentEvents(None, everywhere=True)
    listening.add(events)
    listening._heard(event)
    return bool([one.data for one in told])


def _all_of(data: bytes, *decoders: Callable[[bytes], object]) -> bool:
    accepted = False
    for decode in decoders:
        try:
            decode(data)
            accepted = True
        except ReplicaUnusable:
            pass
    return accepted


# ---- browsers ------------------------------------------------------------------------------------


def _cookie(rng: Random) -> bytes:
    value = join_cookie(_SIGNER.mint(rng.randbytes(16)), rng.choice(("tomcat1", "a", "x" * 32)))
    header = rng.choice(("SID={}", "a=b; SID={}; c=d", 'SID="{}"; SID=old', "SID={}; SID_v=1AA"))
    return header.format(value).encode()


def _check_cookie(data: bytes) -> bool:
    """As a request does: the header's values, the id and the route in each, the signature."""
    header = data.decode("latin-1")
    values = cookie_values(header, "SID")
    if len(values) > VALUES_MAX:
        raise Broken(f"{len(values)} values of one cookie are looked at")
    accepted = False
    for value in values:
        parsed = split_cookie(value)
        if parsed is None:
            continue
        identifier, route = parsed
        key = _SIGNER.key_of(identifier)
        if len(identifier) != ID_LENGTH or (route is not None and not is_route(route)):
            raise Broken(f"not an id and a route: {parsed!r}")
        if key is not None:
            accepted = True
            if identifier[:23] != key or not _SIGNER.key_of(identifier) == key:
                raise Broken(f"another key: {key!r}")
    return accepted


def _identifier(rng: Random) -> bytes:
    return _SIGNER.mint(rng.randbytes(16)).encode()


def _check_identifier(data: bytes) -> bool:
    """Any text may come here, of any length and alphabet."""
    text = data.decode("utf-8", "surrogateescape")
    key = _SIGNER.key_of(text)
    if key is not None and (len(text) != ID_LENGTH or not text.startswith(key)):
        raise Broken(f"took {text!r} for authentic")
    return key is not None


def _seen(rng: Random) -> bytes:
    return _TOKENS.encode("k", samples.state(rng)).encode()


def _check_seen(data: bytes) -> bool:
    named = _TOKENS.decode("k", [data.decode("latin-1")])
    if len(named) > WRITERS_MAX or any(len(node) != 8 for node in named):
        raise Broken(f"names {len(named)} writers")
    return bool(named)


# ---- operators and workers -----------------------------------------------------------------------


def _start(rng: Random) -> bytes:
    settings = Settings(
        distributable=True, route="tomcat1", secret=("s" * 32,),
        seeds=("10.0.0.1:4000",) * rng.randint(0, 2), port=rng.randint(1024, 60000),
        cookie_path=rng.choice(("/", "/shop")), idle_timeout_s=rng.randint(1, 10**6),
    )
    return encode_start(settings, NodeHome(Path(rng.choice(("/var/lib/x", "/")))))


def _check_start(data: bytes) -> bool:
    try:
        settings, home = decode_start(data)
        unknown_settings(data)
    except ConfigurationError:
        return False
    if decode_start(encode_start(settings, home)) != (settings, home):
        raise Broken("settings that read differently the second time")
    return True


def _seed(rng: Random) -> bytes:
    host = rng.choice(("10.0.0.1", "dns:nodes.example.org", "[::1]", "shop-1"))
    return f"{host}:{rng.randint(1, 65535)}".encode()


def _check_seed(data: bytes) -> bool:
    try:
        seed = parse_seed(data.decode("utf-8", "replace"))
    except ConfigurationError:
        return False
    if parse_seed(str(seed)) != seed:
        raise Broken(f"another seed: {seed!r}")
    return True


def targets() -> list[Target]:
    """All of them."""
    cursor = round_trip(tables.decode_cursor, tables.encode_cursor, WireError)
    head = round_trip(tables.decode_head, tables.encode_head, WireError)
    return [
        Target("replica.record", _record, _check_record),
        Target("replica.head", _head, head),
        Target("replica.cursor", lambda r: tables.encode_cursor(samples.cursor(r)), cursor),
        Target("replica.keys", _table_key, _check_table_key),
        Target("replica.principals", _principal, _check_principal),
        Target("event", _event, _check_event, expected=False),
        Target("view", _view, _check_view),
        Target("cookie", _cookie, _check_cookie),
        Target("id", _identifier, _check_identifier),
        Target("seen", _seen, _check_seen, expected=False),
        Target("agent.settings", _start, _check_start, share=0.1),
        Target("seed", _seed, _check_seed),
    ]
