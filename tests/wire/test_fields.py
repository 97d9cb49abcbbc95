"""What is out of bounds or malformed in a field is refused; what is unknown is left out."""

import msgpack
import pytest

from clustersession.core.digest import BUCKETS
from clustersession.core.errors import WireError
from clustersession.core.feed import Cursor
from clustersession.core.identity import Address, Identity
from clustersession.wire import messages as m
from clustersession.wire.fields import KEYS_MAX


@pytest.mark.parametrize(
    "message",
    [
        m.Fetch(""), m.Fetch("k" * 129), m.Fetch("ü"),
        m.SessionsRequest(("k",) * (KEYS_MAX + 1)),
        m.Progress(Cursor(-1, 0), True, False), m.Progress(Cursor(0, 2**63), True, False),
        m.ProbeRequest(b"short"), m.Ping(2**63),
        m.Hello(1, "x" * 65, Identity(b"n" * 8, 1, "a", Address("10.0.0.1", 1))),
        m.Hello(1, "x", Identity(b"n" * 8, 1, "a.b", Address("10.0.0.1", 1))),
        m.Hello(1, "x", Identity(b"n" * 8, 1, "a", Address("a.host.name", 1))),
        m.Hello(1, "x", Identity(b"n" * 8, 1, "a", Address("10.0.0.1", 0))),
        m.Digests(0, b"x" * (8 * BUCKETS + 1)),
        m.Listing(tuple(range(BUCKETS + 1)), (), False),
    ],
    ids=repr,
)
def test_what_is_out_of_bounds_is_refused(message: m.Message) -> None:
    with pytest.raises(WireError):
        m.decode_message(m.encode_message(message))


def test_fields_that_are_not_known_yet_are_ignored() -> None:
    data = msgpack.packb([13, 7, "something new"])
    assert m.decode_message(data) == m.Ping(7)
