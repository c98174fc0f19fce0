"""The layout of a payload that is too large for memory: written and read in pieces, in one pass.

    stream  = u16(length of head) ‖ head ‖ content ‖ signature (64)
    segment = u32(length of frame) ‖ frame         a zstd frame of the next 2^20 bytes of the stream, or of its rest
    packed  = segments ‖ u32(0) ‖ zeros            up to the Padmé size of what is before the zeros

The head holds what a reader must know before the content: its size, and of the signature all but its value. Each
segment is unpacked by itself into at most 2^20 bytes, so no input can ask for more memory than that.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import zstandard

from crypto import canonical
from crypto.errors import FormatError
from crypto.fields import SECRET_BYTES, require_octets, require_text, require_uint
from crypto.jws import SIGNATURE_BYTES
from crypto.labels import Label
from crypto.padding import padme_size
from crypto.payload import MAX_CIPHERTEXT_BYTES, MAX_MEDIA_TYPE_BYTES

SEGMENT_BYTES = 2**20
MAX_CONTENT_BYTES = 16 * 2**30
"""The largest content of this layout."""
MAX_STREAMED_CIPHERTEXT_BYTES = MAX_CONTENT_BYTES + MAX_CONTENT_BYTES // 8
"""No ciphertext beyond it can hold such a content: see ``crypto.payload.MAX_CIPHERTEXT_BYTES``."""
MAX_PROTECTED_CHARACTERS = 2048

_COMPRESSION_LEVEL = 3
_MAX_FRAME_BYTES = SEGMENT_BYTES + SEGMENT_BYTES // 256 + 64
"""What zstd makes of a segment at most (ZSTD_compressBound)."""
_MAX_HEAD_BYTES = 4096
_HEAD_LENGTH_BYTES, _FRAME_LENGTH_BYTES = 2, 4
_SIZE_BITS = 48


def largest_ciphertext_bytes(streamed: bool) -> int:
    """The most bytes of ciphertext that a header of this layout may name; compared before a block is fetched."""
    return MAX_STREAMED_CIPHERTEXT_BYTES if streamed else MAX_CIPHERTEXT_BYTES


@dataclass(frozen=True, slots=True)
class PayloadHead:
    """What stands before the content.

    Attributes:
        media_type: RFC 6838, such as ``application/dicom``.
        content_bytes: the content's size, at least 1.
        protected: the protected header of the provider's detached JWS over the content (``crypto.jws``).
        salt: 32 random bytes that keep the commitment from being guessed.
    """

    media_type: str
    content_bytes: int
    protected: str = field(repr=False)
    salt: bytes = field(repr=False)

    def __post_init__(self) -> None:
        require_text("media type", self.media_type, MAX_MEDIA_TYPE_BYTES)
        require_uint("content size", self.content_bytes, _SIZE_BITS)
        if not 1 <= self.content_bytes <= MAX_CONTENT_BYTES:
            raise FormatError(f"content: expected 1 to {MAX_CONTENT_BYTES} bytes; came {self.content_bytes}")
        require_text("JWS header", self.protected, MAX_PROTECTED_CHARACTERS)
        require_octets("salt", self.salt, SECRET_BYTES)

    def to_bytes(self) -> bytes:
        """The canonical bytes."""
        return canonical.encode(
            Label.STREAMED_PAYLOAD,
            {
                "mediaType": self.media_type,
                "contentSize": self.content_bytes,
                "protected": self.protected,
                "salt": self.salt,
            },
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "PayloadHead":
        """The head in ``data``; raises FormatError."""
        fields = canonical.decode(data, Label.STREAMED_PAYLOAD, _MAX_HEAD_BYTES)
        head = cls(
            media_type=fields.text("mediaType", MAX_MEDIA_TYPE_BYTES),
            content_bytes=fields.uint("contentSize", _SIZE_BITS),
            protected=fields.text("protected", MAX_PROTECTED_CHARACTERS),
            salt=fields.octets("salt", SECRET_BYTES),
        )
        fields.done()
        return head


class StreamPacker:
    """Packs a payload as its content comes; what it gives, joined, is the packed payload."""

    def __init__(self, head: PayloadHead) -> None:
        encoded = head.to_bytes()
        self._left_bytes = head.content_bytes
        self._segment = bytearray(len(encoded).to_bytes(_HEAD_LENGTH_BYTES) + encoded)
        self._packed_bytes = 0
        self._compressor = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL)

    def update(self, content: bytes) -> bytes:
        """Takes the next piece of the content, of any size, and gives what became ready.

        Raises:
            FormatError: more came than the head announced.
        """
        self._left_bytes -= len(content)
        if self._left_bytes < 0:
            raise FormatError("content: expected as many bytes as were announced; more came")
        return self._append(content)

    def require_complete(self) -> None:
        """Checks that all of the content came; raises FormatError."""
        if self._left_bytes:
            raise FormatError(
                f"content: expected as many bytes as were announced; {self._left_bytes} are missing"
            )

    def finalize(self, signature: bytes) -> bytes:
        """Ends the content and gives all that is left: the signature (64 bytes), the end and the padding.

        Raises:
            FormatError: less came than the head announced.
        """
        self.require_complete()
        packed = self._append(require_octets("JWS signature", signature, SIGNATURE_BYTES))
        if self._segment:
            packed += self._packed(bytes(self._segment))
        packed += bytes(_FRAME_LENGTH_BYTES)
        self._packed_bytes += _FRAME_LENGTH_BYTES
        return packed + bytes(padme_size(self._packed_bytes) - self._packed_bytes)

    def _append(self, data: bytes) -> bytes:
        ready = []
        view = memoryview(data)
        while view:
            room = SEGMENT_BYTES - len(self._segment)
            self._segment += view[:room]
            view = view[room:]
            if len(self._segment) == SEGMENT_BYTES:
                ready.append(self._packed(bytes(self._segment)))
                self._segment.clear()
        return b"".join(ready)

    def _packed(self, segment: bytes) -> bytes:
        frame = self._compressor.compress(segment)
        self._packed_bytes += _FRAME_LENGTH_BYTES + len(frame)
        return len(frame).to_bytes(_FRAME_LENGTH_BYTES) + frame


class StreamUnpacker:
    """Reads a packed payload from pieces of it; at most a few segments are in memory.

    ``head`` is read at once. ``content`` gives the content once; when it has ended by itself, ``signature`` is
    there, and everything after it was as ``StreamPacker`` writes it.
    """

    def __init__(self, packed: Iterable[bytes], max_content_bytes: int = MAX_CONTENT_BYTES) -> None:
        """``packed``: the pieces, of any size, in order.

        Raises:
            FormatError: it is not what ``StreamPacker`` makes, or announces more than ``max_content_bytes``.
        """
        self.signature = b""
        self._source = _Source(packed)
        first = self._next_segment(None)
        head_end = _HEAD_LENGTH_BYTES + int.from_bytes(first[:_HEAD_LENGTH_BYTES])
        self.head = PayloadHead.from_bytes(first[_HEAD_LENGTH_BYTES:head_end])
        if self.head.content_bytes > max_content_bytes:
            raise FormatError(
                f"content: expected at most {max_content_bytes} bytes; its author announces {self.head.content_bytes}"
            )
        self._stream_bytes = head_end + self.head.content_bytes + SIGNATURE_BYTES
        if len(first) != min(self._stream_bytes, SEGMENT_BYTES):
            raise _another_segment(len(first))
        self._first = memoryview(first)[head_end:]

    def content(self) -> Iterator[bytes]:
        """The content in pieces of at most ``SEGMENT_BYTES``; what came before an error is not the whole.

        Raises:
            FormatError: what follows is not what ``StreamPacker`` makes, or ends early.
        """
        left_bytes = self.head.content_bytes
        signature = b""
        for segment in self._segments():
            piece = segment[:left_bytes]
            left_bytes -= len(piece)
            signature += bytes(segment[len(piece) :])
            if piece:
                yield bytes(piece)
        self._check_end()
        self.signature = signature

    def _segments(self) -> Iterator[memoryview]:
        yield self._first
        left_bytes = self._stream_bytes - SEGMENT_BYTES
        while left_bytes > 0:
            segment = self._next_segment(min(left_bytes, SEGMENT_BYTES))
            left_bytes -= len(segment)
            yield memoryview(segment)

    def _next_segment(self, expected_bytes: int | None) -> bytes:
        """The next segment, unpacked; the first one tells its size itself."""
        frame_bytes = int.from_bytes(self._source.take(_FRAME_LENGTH_BYTES))
        if not 1 <= frame_bytes <= _MAX_FRAME_BYTES:
            raise FormatError(
                f"payload: expected a segment of 1 to {_MAX_FRAME_BYTES} bytes packed; came {frame_bytes}"
            )
        frame = self._source.take(frame_bytes)
        try:
            # The size in the frame is the author's word: it is compared before anything is allocated for it, and
            # zstandard then stops at it, however much the frame would yield.
            size_bytes = zstandard.get_frame_parameters(frame).content_size
            wanted = size_bytes <= SEGMENT_BYTES if expected_bytes is None else size_bytes == expected_bytes
            if not wanted:
                raise _another_segment(size_bytes)
            return zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
        except zstandard.ZstdError:
            raise FormatError("payload: expected one zstd frame a segment; came other bytes") from None

    def _check_end(self) -> None:
        if any(self._source.take(_FRAME_LENGTH_BYTES)):
            raise FormatError("payload: expected the end after the last segment; came more")
        before_bytes = self._source.taken_bytes
        if not self._source.only_zeros_follow():
            raise FormatError("padding: expected zeros after the payload; came other bytes")
        if self._source.taken_bytes != padme_size(before_bytes):
            raise FormatError("padding: expected zeros up to the next Padmé size; came more or fewer")


class _Source:
    """Exact reads from pieces of any size."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._piece = memoryview(b"")
        self.taken_bytes = 0

    def take(self, size_bytes: int) -> bytes:
        """Exactly so many bytes; raises FormatError when the pieces end before."""
        parts = []
        missing_bytes = size_bytes
        while missing_bytes:
            if not self._piece:
                following = next(self._pieces, None)
                if following is None:
                    raise FormatError("payload: expected more bytes; it ends before its end")
                self._piece = memoryview(following)
            part = self._piece[:missing_bytes]
            self._piece = self._piece[len(part) :]
            missing_bytes -= len(part)
            parts.append(part)
        self.taken_bytes += size_bytes
        return b"".join(parts)

    def only_zeros_follow(self) -> bool:
        """Reads to the end of all pieces."""
        only_zeros = True
        piece = bytes(self._piece)
        while True:
            self.taken_bytes += len(piece)
            only_zeros &= piece.count(0) == len(piece)
            following = next(self._pieces, None)
            if following is None:
                return only_zeros
            piece = following


def _another_segment(size_bytes: int) -> FormatError:
    return FormatError(
        f"payload: expected segments of {SEGMENT_BYTES} bytes but the last; one says that it has {size_bytes}"
    )
