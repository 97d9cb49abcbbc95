"""Msgpack from outside, read at a cost that stays in proportion to its length."""

from typing import Any

from msgpack import Unpacker, unpackb

_SHORT_BYTES = 256
_ROOM_MAX = 32 * 1024


def unpack(data: bytes | memoryview, **options: Any) -> Any:
    """What ``msgpack.unpackb`` makes of the bytes; it raises what that raises.

    Msgpack makes room for all elements that a list says it has before it has seen one. Lists inside
    of lists, each claiming as many as there are bytes, would take megabytes for each kilobyte. So
    where that could be much, a first pass that builds nothing looks whether everything is there.
    """
    if len(data) > _SHORT_BYTES:
        whole = bytes(data)
        # How often the heads of long lists can stand there, times what each of them may claim.
        if (whole.count(b"\xdc") + whole.count(b"\xdd")) * len(whole) > _ROOM_MAX:
            unpacker = Unpacker(max_buffer_size=len(whole))
            unpacker.feed(whole)
            unpacker.skip()
    return unpackb(data, **options)
