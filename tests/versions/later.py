"""What a later version might say: every structure has grown, and there are kinds nobody knows."""

from typing import Any

import msgpack

NEW = ["something new", 1, None, [b"\x00"]]
UNKNOWN_MESSAGES = (
    msgpack.packb([99, b"of a kind to come", [1, 2]]), msgpack.packb([2**31]),
)


def grown(formats: dict[str, Any], shape: Any, value: Any) -> Any:
    """The value with something appended to every row in it, down to the innermost."""
    if value is None or (isinstance(shape, str) and shape != "state"):
        return value
    if shape == "state":
        return [*value, *NEW]
    ((form, inner),) = shape.items()
    match form:
        case "kind":
            return grown(formats, formats["kinds"][inner], value)
        case "maybe":
            return grown(formats, inner, value)
        case "packed":
            return msgpack.packb(grown(formats, inner, msgpack.unpackb(value)))
        case "list":
            return [grown(formats, inner, part) for part in value]
        case "row":
            parts = [grown(formats, s, part) for s, part in zip(inner, value, strict=True)]
            return [*parts, *NEW]
    return value


def grown_message(formats: dict[str, Any], data: bytes) -> bytes:
    """A message of the recorded version as a later one might send it."""
    number, *values = msgpack.unpackb(data)
    fields = formats["messages"][str(number)]["fields"]
    parts = [
        grown(formats, {"kind": field["kind"]}, value)
        for field, value in zip(fields, values, strict=True)
    ]
    return bytes(msgpack.packb([number, *parts, *NEW]))
