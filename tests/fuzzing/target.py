"""What a decoder promises, as something a campaign can call."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Target:
    """One decoder under test.

    sample(rng) gives a valid input. check(data) is True when the decoder accepted the input, False
    when it refused it with its documented error; anything else that it raises is a finding.
    expected: whether every sample must be accepted, which shows that the target is wired right.
    share: of a campaign's inputs, next to the others' 1; less for a target that is slow.
    """

    name: str
    sample: Callable[[Random], bytes]
    check: Callable[[bytes], bool]
    expected: bool = True
    share: float = 1.0


class Broken(AssertionError):
    """A decoder returned something that it should not have."""


def round_trip(
    decode: Callable[[bytes], object],
    encode: Callable[..., bytes],
    refusals: type[Exception] | tuple[type[Exception], ...],
) -> Callable[[bytes], bool]:
    """Check that what decodes encodes to something that decodes to the same."""

    def check(data: bytes) -> bool:
        try:
            value = decode(data)
        except refusals:
            return False
        again = decode(encode(value))
        if again != value:
            raise Broken(f"decoded to {value!r:.300} and then to {again!r:.300}")
        return True

    return check
