"""What was verified once is remembered, and only that."""

from clustersession.session.authentic import Authenticator
from clustersession.session.token import IdSigner

SIGNER = IdSigner([b"a secret"])


def test_the_same_value_gives_the_same_answer() -> None:
    authenticator = Authenticator(SIGNER)
    identifier = SIGNER.mint(b"0" * 16)
    for route in ("a", "b", None):
        value = identifier if route is None else f"{identifier}.{route}"
        for _ in range(3):
            assert authenticator.candidate(value) == (identifier, identifier[:23], route)


def test_what_is_forged_is_refused_each_time() -> None:
    authenticator = Authenticator(SIGNER)
    identifier = SIGNER.mint(b"0" * 16)
    other = SIGNER.mint(b"1" * 16)
    assert authenticator.candidate(identifier) is not None
    for value in (identifier[:23] + other[23:], identifier[:-1], "", "x" * 39, f"{identifier}x"):
        assert authenticator.candidate(value) is None
        assert authenticator.candidate(value) is None
