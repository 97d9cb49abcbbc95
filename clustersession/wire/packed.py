"""Reads msgpack from outside at a cost that stays in proportion to its length."""

from typing import Any

from msgpack import Unpacker, unpackb

_LISTS = (b"\xdc", b"\xdd")
_LISTS_AND_MAPS = (*_LISTS, b"\xde", b"\xdf")
SHORT_BYTES = 256
"""So few bytes are unpacked at once: no lists in them can claim much."""

_ROOM_MAX = 32 * 1024
_LONG_BYTES = 64 * 1024
_BYTES_PER_LIST_MIN = 8
_LISTS_MIN = 4096


def unpack(data: bytes | memoryview, **options: Any) -> Any:
    """Unpack like ``msgpack.unpackb``, and raise what that raises.

    Msgpack makes room for all elements that a list says it has before it has seen one. Lists inside
    of lists, each claiming as many as there are bytes, would take megabytes for each kilobyte. So
    where that could be much, a first pass that builds nothing looks whether everything is there.
    With an ``object_pairs_hook`` maps are lists too.
    """
    if len(data) > SHORT_BYTES:
        whole = bytes(data)
        heads = _LISTS if options.get("object_pairs_hook") is None else _LISTS_AND_MAPS
        # The heads of long lists that may stand there, times the length that each may claim.
        if sum(map(whole.count, heads)) * len(whole) > _ROOM_MAX:
            unpacker = Unpacker(max_buffer_size=len(whole))
            unpacker.feed(whole)
            unpacker.skip()
    return unpackb(data, **options)


def unpack_plain(data: bytes | memoryview, **options: Any) -> Any:
    """Unpack what nodes write themselves, in which a list takes twelve bytes and more.

    In 16 MiB there is room for as many empty lists, which would take a gigabyte and seconds.
    """
    if len(data) <= _LONG_BYTES:
        return unpack(data, **options)
    lists_left = _LISTS_MIN + len(data) // _BYTES_PER_LIST_MIN

    def count(item: Any) -> Any:
        nonlocal lists_left
        lists_left -= 1
        if lists_left < 0:
            raise ValueError("too many lists")
        return item

    return unpack(data, list_hook=count, object_hook=count, **options)
