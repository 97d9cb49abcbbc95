"""The decoders of messages, records and session values."""

from random import Random
from typing import Any

import msgpack

from clustersession.core.errors import UnserializableValue, WireError
from clustersession.wire import fields
from clustersession.wire.local import (
    Operation,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from clustersession.wire.messages import decode_message, encode_message
from clustersession.wire.packed import unpack
from clustersession.wire.records import (
    decode_batch,
    decode_delta,
    decode_state,
    encode_batch,
    encode_delta,
    encode_state,
)
from clustersession.wire.values import decode_value, encode_value
from tests.fuzzing import samples
from tests.fuzzing.target import Broken, Target, round_trip

_KINDS: list[fields.Kind] = [
    kind for _, kind in sorted(vars(fields).items()) if isinstance(kind, fields.Kind)
]


def _check_value(data: bytes) -> bool:
    """A value that decodes encodes to canonical bytes, unless it is of a kind nobody could write.

    Compared as bytes: a NaN is not equal to itself.
    """
    try:
        value = decode_value(data)
    except WireError:
        return False
    try:
        first = encode_value(value)
    except UnserializableValue:
        # Nested deeper than a packer goes, or an offset of microseconds: no node sends that.
        return True
    if encode_value(decode_value(first)) != first:
        raise Broken(f"not canonical: {first.hex()[:300]}")
    return True


def _check_field(data: bytes) -> bool:
    """The first byte chooses the kind of field, the rest is its structure."""
    kind = _KINDS[data[0] % len(_KINDS)] if data else _KINDS[0]
    try:
        plain = unpack(data[1:], strict_map_key=False)
    except Exception:  # the structure is msgpack's business, what it means is the field's
        return False
    try:
        value = kind.unpack(plain)
    except WireError:
        return False
    again = kind.unpack(msgpack.unpackb(msgpack.packb(kind.pack(value))))
    if again != value:
        raise Broken(f"decoded to {value!r:.300} and then to {again!r:.300}")
    return True


def _field(rng: Random) -> bytes:
    number = rng.randrange(len(_KINDS))
    plain: list[Any] = msgpack.unpackb(encode_message(samples.message(rng)))
    return bytes((number,)) + msgpack.packb(rng.choice(plain[1:]))


def status_request(token: int) -> bytes:
    """The question that every agent can answer."""
    return encode_request(Operation.STATUS, token)


def request(rng: Random) -> bytes:
    """A request of a worker."""
    arguments: dict[Operation, list[object]] = {
        Operation.ATTACH: [rng.randrange(99999)], Operation.FEED_MOVED: [samples.number(rng)],
        Operation.CONFIRM: [samples.number(rng), rng.random() < 0.5, 1000],
        Operation.FETCH: [samples.key(rng), [[bytes(8), samples.number(rng)]]],
        Operation.WATCH: [samples.key(rng)],
        Operation.UNWATCH: [rng.randrange(99)],
        Operation.LISTEN: [rng.random() < 0.5, rng.randrange(99999)],
        Operation.LOCATE: [samples.key(rng), 1000],
        Operation.GATHER: [rng.randbytes(16)],
        Operation.DISMISS: [[rng.randbytes(8)]],
        Operation.REPORT: [{"commits": samples.number(rng), "fetches": rng.randrange(9)}],
    }
    operation = rng.choice(list(Operation))
    return encode_request(operation, rng.randrange(99), *arguments.get(operation, ()))


def _answer(rng: Random) -> bytes:
    status = {"phase": "ready", "members": [{"route": "a", "head": samples.number(rng)}]}
    return encode_answer(
        rng.randrange(99), rng.choice((True, 0, -1, 3, status, ["info", "a line"]))
    )


def _check_request(data: bytes) -> bool:
    try:
        request = decode_request(data)
    except WireError:
        return False
    if type(request.operation) is not int or type(request.argument) is not list:
        raise Broken(f"no request: {request!r:.300}")
    return True


def _check_answer(data: bytes) -> bool:
    try:
        answer = decode_answer(data)
    except WireError:
        return False
    if type(answer.token) is not int:
        raise Broken(f"no answer: {answer!r:.300}")
    return True


def targets() -> list[Target]:
    """All of them."""
    message = round_trip(decode_message, encode_message, WireError)
    return [
        *(
            Target(
                f"message.{name}", lambda rng, make=make: encode_message(make(rng)), message
            )
            for name, make in samples.MESSAGES.items()
        ),
        Target("fields", _field, _check_field, expected=False),
        Target(
            "records.state", lambda rng: encode_state(samples.state(rng)),
            round_trip(decode_state, encode_state, WireError),
        ),
        Target(
            "records.delta", lambda rng: encode_delta(samples.delta(rng)),
            round_trip(decode_delta, encode_delta, WireError),
        ),
        Target(
            "records.batch", lambda rng: encode_batch(samples.batch(rng)),
            round_trip(decode_batch, encode_batch, WireError),
        ),
        Target("values", lambda rng: encode_value(samples.value(rng)), _check_value),
        Target("local.request", request, _check_request),
        Target("local.answer", _answer, _check_answer),
    ]
