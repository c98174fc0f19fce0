"""Opening a content that is too large for memory: nothing unauthenticated leaves, and the last piece only at the end.

What a caller gets piece by piece is authentic, and yet not the whole until the iterator has ended by itself: whoever
keeps it writes into a place that nobody reads from before that.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from cryptography.cobblestone import Cobblestone256Decryptor
from cryptography.exceptions import InvalidTag

from crypto.binding import record_context
from crypto.errors import DigestMismatchError, FormatError, OpenError, SignatureError
from crypto.header import Header
from crypto.jws import JwsHeader, compact, read_protected, signing_hash, verify_digest
from crypto.payload import commitment_of
from crypto.streamed_payload import MAX_CONTENT_BYTES, StreamUnpacker


class StreamedContent:
    """One record's content, opened piece by piece from its ciphertext. Iterate once.

    ``signed`` says who signed, as what and when; ``content_bytes`` is the size of all pieces together. Until the
    iterator ends, both are what the author announced, under the record's own key.

    At once: 1. The header is of this layout. 2. The first chunks are authentic, and the payload's head is well-formed.
    3. The JWS names the record's author and the payload's media type.

    While iterating: 4. Each chunk is authenticated before any byte of it leaves. 5. Ciphertext and payload end where
    they must, and the ciphertext has the header's size and digest. 6. The payload is the one committed to. 7. The
    author signed its bytes. Only then comes the last piece.
    """

    def __init__(
        self,
        data_key: bytes,
        header: Header,
        payload_commitment: bytes,
        ciphertext: Iterable[bytes],
        *,
        max_content_bytes: int = MAX_CONTENT_BYTES,
    ) -> None:
        """Reads as much as the payload's head takes.

        Args:
            header: checked against the ledger (``read_header``).
            payload_commitment: of the record on the ledger, 32 bytes.
            ciphertext: its pieces in order, each of any size.

        Raises:
            FormatError: 1 or 2 fails, or the content is beyond ``max_content_bytes``.
            DigestMismatchError, OpenError: 2 fails.
            SignatureError: 3 fails.
        """
        if not header.streamed:  # 1
            raise FormatError("expected the header of a streamed content; came that of a whole one")
        self._header, self._payload_commitment = header, payload_commitment
        self._unpacker = StreamUnpacker(
            _decrypted(data_key, header, ciphertext), max_content_bytes
        )  # 2, and 4 and 5 while it goes on
        head = self._unpacker.head
        self.signed: JwsHeader = read_protected(head.protected, header.identity.author)  # 3
        if self.signed.media_type != head.media_type:
            raise SignatureError(
                f"expected the media type that the author signed, {self.signed.media_type}; came {head.media_type}"
            )
        self.content_bytes = head.content_bytes

    def __iter__(self) -> Iterator[bytes]:
        """The content.

        Raises:
            FormatError, DigestMismatchError, OpenError, SignatureError: one of 4 to 7 fails.
        """
        head = self._unpacker.head
        content, signed = hashlib.sha256(), signing_hash(head.protected)
        held = b""
        for piece in self._unpacker.content():  # 4
            if held:
                yield held
            content.update(piece)
            signed.update(piece)
            held = piece
        jws = compact(head.protected, self._unpacker.signature)  # 5 held, or the loop would have raised
        made = commitment_of(head.salt, head.media_type, content.digest(), jws)
        if not hmac.compare_digest(made, self._payload_commitment):  # 6
            raise DigestMismatchError(
                "expected the payload that the ledger commits to; its author sealed another"
            )
        verify_digest(jws, signed.digest(), self._header.identity.author)  # 7
        yield held


def _decrypted(data_key: bytes, header: Header, ciphertext: Iterable[bytes]) -> Iterator[bytes]:
    """The packed payload: each piece only when its chunks are authentic, and an end only where the header has it."""
    decryptor = Cobblestone256Decryptor(data_key, record_context(header.identity, streamed=True))
    hashed, size_bytes = hashlib.sha256(), 0
    for piece in ciphertext:
        hashed.update(piece)
        size_bytes += len(piece)
        if size_bytes > header.ciphertext_size:
            raise _mismatch(header, "more came")
        if opened := _authentic(partial(decryptor.update, piece)):
            yield opened
    if size_bytes != header.ciphertext_size:
        raise _mismatch(header, f"came {size_bytes}")
    if hashed.digest() != header.ciphertext_digest:
        raise DigestMismatchError("ciphertext: expected the bytes that the header names; came others")
    if opened := _authentic(decryptor.finalize):
        yield opened


def _authentic(decrypt: Callable[[], bytes]) -> bytes:
    try:
        return decrypt()
    except (InvalidTag, ValueError):
        raise OpenError(
            "the ciphertext does not open: a share or wrap was sealed wrongly by its author, or is another record's"
        ) from None


def _mismatch(header: Header, came: str) -> DigestMismatchError:
    return DigestMismatchError(
        f"ciphertext: expected {header.ciphertext_size} bytes; {came}. Fetch it elsewhere"
    )
