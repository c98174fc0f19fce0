"""A record's payload: the exact bytes that a provider signed, packed for encryption and committed to.

Packed = Padmé(zstd(CBOR)). The pack is what is encrypted; the commitment is what the ledger shows.
"""

import hashlib
import secrets
from dataclasses import dataclass, field

import zstandard

from crypto import canonical
from crypto.errors import FormatError
from crypto.fields import SECRET_BYTES, require_octets, require_text
from crypto.labels import Label
from crypto.padding import pad, unpad

MAX_PAYLOAD_BYTES = 64 * 2**20
"""Default limit of an unpacked payload."""
MAX_CIPHERTEXT_BYTES = MAX_PAYLOAD_BYTES + MAX_PAYLOAD_BYTES // 8
"""No ciphertext beyond it can hold such a payload: padding adds an eighth at most, encryption a thousandth.

A header names the size of its ciphertext, and a few small blocks that link to each other can stand for as many bytes
as it likes: whoever reads blocks by a header compares with this first.
"""
MAX_MEDIA_TYPE_BYTES = 255
MAX_SIGNATURE_BYTES = 8192

_COMPRESSION_LEVEL = 3


@dataclass(frozen=True, slots=True)
class Payload:
    """What a record holds.

    Attributes:
        media_type: RFC 6838, such as ``application/fhir+json``.
        content: the original bytes, never re-serialised.
        signature: the provider's detached JWS over ``content`` (see ``crypto.jws``).
        salt: 32 random bytes that keep the commitment from being guessed.
    """

    media_type: str
    content: bytes = field(repr=False)
    signature: str = field(repr=False)
    salt: bytes = field(repr=False)

    def __post_init__(self) -> None:
        require_text("media type", self.media_type, MAX_MEDIA_TYPE_BYTES)
        require_text("signature", self.signature, MAX_SIGNATURE_BYTES)
        require_octets("salt", self.salt, SECRET_BYTES)
        if not isinstance(self.content, bytes):
            raise FormatError(f"content: expected bytes; came {type(self.content).__name__}")

    @classmethod
    def create(cls, media_type: str, content: bytes, signature: str) -> "Payload":
        """A payload with a fresh salt."""
        return cls(media_type, content, signature, secrets.token_bytes(SECRET_BYTES))


def commitment(payload: Payload) -> bytes:
    """The salted commitment that the ledger shows, 32 bytes."""
    digest = hashlib.sha256(payload.content).digest()
    return commitment_of(payload.salt, payload.media_type, digest, payload.signature)


def commitment_of(salt: bytes, media_type: str, content_digest: bytes, signature: str) -> bytes:
    """``commitment``, of a content whose SHA-256 is known.

    SHA-256 of: label and zero, salt (32), SHA-256(media type in UTF-8), SHA-256(content), SHA-256(signature).
    """
    return hashlib.sha256(
        b"".join(
            (
                Label.PAYLOAD_COMMITMENT.prefix,
                salt,
                hashlib.sha256(media_type.encode()).digest(),
                content_digest,
                hashlib.sha256(signature.encode()).digest(),
            )
        )
    ).digest()


def pack(payload: Payload) -> bytes:
    """The bytes to encrypt: canonical CBOR, compressed, padded."""
    document = canonical.encode(
        Label.PAYLOAD,
        {
            "mediaType": payload.media_type,
            "content": payload.content,
            "signature": payload.signature,
            "salt": payload.salt,
        },
    )
    return pad(zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL).compress(document))


def unpack(packed: bytes, max_bytes: int = MAX_PAYLOAD_BYTES) -> Payload:
    """The payload in ``packed``.

    Raises:
        FormatError: it is not what ``pack`` makes, or would take more than ``max_bytes`` unpacked.
    """
    compressed = unpad(packed)
    fields = canonical.decode(_decompress(compressed, max_bytes), Label.PAYLOAD, max_bytes)
    payload = Payload(
        media_type=fields.text("mediaType", MAX_MEDIA_TYPE_BYTES),
        content=fields.octets_up_to("content", max_bytes),
        signature=fields.text("signature", MAX_SIGNATURE_BYTES),
        salt=fields.octets("salt", SECRET_BYTES),
    )
    fields.done()
    return payload


def _decompress(compressed: memoryview, max_bytes: int) -> bytes:
    # The size in the frame is the author's word: it is limited before anything is allocated for it, and
    # zstandard then stops at it, however much the frame would yield.
    try:
        parameters = zstandard.get_frame_parameters(compressed)
        size_bytes = parameters.content_size
        if size_bytes == zstandard.CONTENTSIZE_UNKNOWN:
            raise FormatError("payload: expected a zstd frame that says its size; came one that does not")
        if size_bytes > max_bytes:
            raise FormatError(f"payload: expected at most {max_bytes} bytes unpacked; came {size_bytes}")
        return zstandard.ZstdDecompressor().decompress(compressed, allow_extra_data=False)
    except zstandard.ZstdError:
        raise FormatError("payload: expected one zstd frame; came other bytes") from None
