"""Cuts a byte stream into frames: a 4-byte big-endian length, then that many bytes."""

from clustersession.core.errors import WireError

LENGTH_BYTES = 4
PAYLOAD_BYTES_LIMIT = 2**32 - 1


def frame_header(payload: bytes) -> bytes:
    """Return the length prefix of a payload, for writers that join several frames at once."""
    return len(payload).to_bytes(LENGTH_BYTES, "big")


def encode_frame(payload: bytes) -> bytes:
    """Return the payload as one frame. The payload is at most 2**32 - 1 bytes."""
    return frame_header(payload) + payload


def split_first_frame(data: bytes | bytearray, bytes_max: int) -> tuple[bytes, bytes] | None:
    """Return the first frame of a stream and what follows it, or None while it is incomplete.

    For streams that greet with a frame under a tighter bound than the frames after it. Raises
    WireError as soon as the announced length exceeds ``bytes_max``.
    """
    if len(data) < LENGTH_BYTES:
        return None
    end = LENGTH_BYTES + _checked_length(data, 0, bytes_max)
    if len(data) < end:
        return None
    return bytes(data[LENGTH_BYTES:end]), bytes(data[end:])


class FrameDecoder:
    """Finds the frames in a stream that arrives in arbitrary pieces.

    A frame longer than ``bytes_max`` is refused when its length is read, before any of it is kept;
    so at most ``bytes_max`` and one piece are ever held. After a WireError the stream has no
    meaning any more and the decoder must not be used again.

    _rest: the beginning of a frame that is not whole yet.
    _bytes_needed: how long ``_rest`` must be before another look is worthwhile; without it a large
        frame that arrives in small pieces would be looked at once per piece.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._rest = bytearray()
        self._bytes_needed = LENGTH_BYTES

    def receive(self, data: bytes) -> list[bytes]:
        """Return the frames completed by a piece, in order. Raises WireError for one too long."""
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._bytes_needed:
                return []
            frames, consumed = self._split(rest)
            del rest[:consumed]
            return frames
        frames, consumed = self._split(data)
        if consumed < len(data):
            rest += memoryview(data)[consumed:]
        return frames

    def _split(self, data: bytes | bytearray) -> tuple[list[bytes], int]:
        frames: list[bytes] = []
        position = 0
        available = len(data)
        self._bytes_needed = LENGTH_BYTES
        while available - position >= LENGTH_BYTES:
            start = position + LENGTH_BYTES
            end = start + _checked_length(data, position, self._bytes_max)
            if end > available:
                self._bytes_needed = end - position
                break
            # A slice of a bytearray is copied twice on its way to bytes; of a view only once.
            frames.append(
                data[start:end] if isinstance(data, bytes) else bytes(memoryview(data)[start:end])
            )
            position = end
        return frames, position


def _checked_length(data: bytes | bytearray, position: int, bytes_max: int) -> int:
    length = int.from_bytes(data[position : position + LENGTH_BYTES], "big")
    if length > bytes_max:
        raise WireError(f"a frame of {length} bytes exceeds the limit of {bytes_max}")
    return length
