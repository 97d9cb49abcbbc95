"""Writes commands and reads answers in RESP3, the protocol of Valkey and Redis.

What comes is not trusted: everything has a bound, and anything else than RESP3 raises WireError. An
answer that is too long is passed over while it comes, so that one value that somebody has put into
the store does not cost the connection.
The specification is https://redis.io/docs/latest/develop/reference/protocol-spec.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Final

from clustersession.core.errors import WireError

ANSWER_BYTES_MAX: Final = 64 * 2**20
ELEMENTS_MAX: Final = 2**19
"""Of one answer, all that is nested in it included: twice the fields that a session may have."""

TOO_LONG: Final = "TOOLONG"
"""The code that stands in the place of an answer beyond the two."""

_LINE_BYTES_MAX: Final = 64 * 2**10
_DEPTH_MAX: Final = 8
_DIGITS_MAX: Final = 20


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """Is what a server says instead of an answer: a code in capitals, and what it means."""

    text: str

    @property
    def code(self) -> str:
        """Return the first word."""
        return self.text.partition(" ")[0]


@dataclass(frozen=True, slots=True)
class PushMessage:
    """Is what a server says unasked."""

    parts: list[Any]


Part = bytes | str | int


def command(*parts: Part) -> bytes:
    """Write a command."""
    written = [b"*%d\r\n" % len(parts)]
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogatepass")
        written += (b"$%d\r\n" % len(data), data, b"\r\n")
    return b"".join(written)


_BLOBS: Final = frozenset(b"$=!")
_LISTS: Final = frozenset(b"*~>%|")
_PAIRS: Final = frozenset(b"%|")


class RespDecoder:
    """Finds the answers in a stream of bytes, however it is cut.

    _at: where in the buffer to read on. _elements, _bytes: how many the answer at hand has so far.
    _is_too_long: nothing of it is kept. _parser: stops wherever bytes are missing. _found: what it
    has completed.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0
        self._elements = 0
        self._bytes = 0
        self._is_too_long = False
        self._found: list[Any] = []
        self._parser = self._answers()

    def feed(self, data: bytes | memoryview) -> list[Any]:
        """Take bytes; return the answers that are complete now. Raises WireError."""
        self._buffer += data
        next(self._parser)
        del self._buffer[: self._at]
        self._at = 0
        found, self._found = self._found, []
        return found

    def _answers(self) -> Iterator[None]:
        while True:
            self._elements = self._bytes = 0
            self._is_too_long = False
            answer = yield from self._value(0)
            if self._is_too_long:
                answer = ErrorReply(f"{TOO_LONG} the store sends an answer that is too long")
            self._found.append(answer)

    def _value(self, depth: int) -> Generator[None, None, Any]:
        line = yield from self._line()
        kind, rest = line[:1], line[1:]
        if not kind or (kind[0] not in _BLOBS and kind[0] not in _LISTS):
            return _scalar(kind, rest)
        length = _integer(rest)
        if length < 0:
            return None
        if kind[0] in _BLOBS:
            return (yield from self._blob(kind, length))
        parts = yield from self._parts(length * 2 if kind[0] in _PAIRS else length, depth)
        if self._is_too_long and kind == b">":
            raise WireError("the store says unasked what is too long")
        if self._is_too_long and kind != b"|":
            return None
        if kind == b"|":
            # Attributes stand before an answer, and say what nobody asked.
            return (yield from self._value(depth + 1))
        return _dictionary(parts) if kind == b"%" else PushMessage(parts) if kind == b">" else parts

    def _parts(self, length: int, depth: int) -> Generator[None, None, list[Any]]:
        self._elements += length
        if depth >= _DEPTH_MAX:
            raise WireError("the store sends an answer that is nested too deeply")
        self._is_too_long |= self._elements > ELEMENTS_MAX
        parts: list[Any] = []
        for _ in range(length):
            part = yield from self._value(depth + 1)
            if self._is_too_long:
                parts.clear()
            else:
                parts.append(part)
        return parts

    def _line(self) -> Generator[None, None, bytes]:
        looked = 0
        while (end := self._buffer.find(
            b"\r\n", self._at + looked, self._at + _LINE_BYTES_MAX
        )) < 0:
            # Not once more from its beginning, for each of the bytes that it may come in.
            looked = max(0, len(self._buffer) - self._at - 1)
            if looked + 1 >= _LINE_BYTES_MAX:
                raise WireError("the store sends a line without an end")
            yield
        line = bytes(self._buffer[self._at : end])
        self._at = end + 2
        self._count(len(line))
        return line

    def _count(self, length: int) -> None:
        self._bytes += length
        self._is_too_long |= self._bytes > ANSWER_BYTES_MAX

    def _blob(self, kind: bytes, length: int) -> Generator[None, None, Any]:
        self._count(length)
        while self._is_too_long and length > len(self._buffer) - self._at:
            length -= len(self._buffer) - self._at
            self._buffer.clear()
            self._at = 0
            yield
        while len(self._buffer) - self._at < length + 2:
            yield
        end = self._at + length
        value = bytes(self._buffer[self._at : end])
        if self._buffer[end : end + 2] != b"\r\n":
            raise WireError("the store sends a value of another length than it said")
        self._at = end + 2
        if kind == b"!":
            return ErrorReply(value.decode("utf-8", "replace"))
        return value[4:] if kind == b"=" else value


def _dictionary(parts: list[Any]) -> dict[Any, Any]:
    try:
        return dict(zip(parts[::2], parts[1::2], strict=True))
    except TypeError:
        raise WireError("a map of the store whose keys are no texts") from None


def _integer(digits: bytes) -> int:
    # int() takes spaces and underscores too, and any number of digits.
    if not digits.removeprefix(b"-").isdigit() or len(digits) > _DIGITS_MAX:
        raise WireError("the store sends a number that is none")
    return int(digits)


def _scalar(kind: bytes, rest: bytes) -> Any:
    match kind:
        case b"+" | b"," | b"(":
            # Nothing that we ask is answered by the latter two: how they read does not matter.
            return rest
        case b"-":
            return ErrorReply(rest.decode("utf-8", "replace"))
        case b":":
            return _integer(rest)
        case b"_":
            return None
        case b"#":
            return rest == b"t"
    raise WireError("the store does not speak RESP3")
