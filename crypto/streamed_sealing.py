"""Sealing a content that is too large for memory, in one pass: hashed, signed, packed and encrypted as it comes.

The ciphertext leaves in pieces; keys are wrapped when its CID is known, since every wrap binds its digest.
"""

import hashlib
import secrets

from cryptography.cobblestone import Cobblestone256Encryptor

from crypto.binding import RecordIdentity, record_context
from crypto.errors import FormatError
from crypto.fields import SECRET_BYTES
from crypto.jws import SIGNATURE_BYTES, compact, protected_header, signing_hash
from crypto.payload import commitment_of
from crypto.signer import Signer
from crypto.streamed_payload import PayloadHead, StreamPacker
from crypto.wrapping import Recipients, RecordSecrets, SealedCiphertext, SealedWraps, wrap_keys


class StreamSealer:
    """Seals one record's content: ``update`` with each piece, ``finalize``, and then ``wrap``."""

    def __init__(
        self,
        identity: RecordIdentity,
        author: Signer,
        *,
        media_type: str,
        content_bytes: int,
        signed_at_seconds: int,
    ) -> None:
        """``content_bytes``: how much will come, exactly.

        Raises:
            FormatError: the media type, or a size that is none of 1 byte to 16 GiB.
        """
        protected = protected_header(author, media_type, signed_at_seconds)
        self._identity, self._author = identity, author
        self._head = PayloadHead(media_type, content_bytes, protected, secrets.token_bytes(SECRET_BYTES))
        self._packer = StreamPacker(self._head)
        self._keys = RecordSecrets.generate()
        self._encryptor = Cobblestone256Encryptor(
            self._keys.data_key, record_context(identity, streamed=True)
        )
        self._content, self._signed = hashlib.sha256(), signing_hash(protected)
        self._ciphertext, self._ciphertext_bytes = hashlib.sha256(), 0
        self._commitment: bytes | None = None

    def update(self, content: bytes) -> bytes:
        """Takes the next piece of the content; returns the ciphertext that became ready.

        Raises:
            FormatError: more came than was announced.
        """
        packed = self._packer.update(content)
        self._content.update(content)
        self._signed.update(content)
        return self._counted(self._encryptor.update(packed))

    def finalize(self) -> bytes:
        """Signs, and returns the rest of the ciphertext.

        Raises:
            FormatError: less came than was announced; nothing was signed.
        """
        self._packer.require_complete()
        signature = self._author.sign_digest(self._signed.digest())[:SIGNATURE_BYTES]
        packed = self._packer.finalize(signature)
        self._commitment = commitment_of(
            self._head.salt,
            self._head.media_type,
            self._content.digest(),
            compact(self._head.protected, signature),
        )
        return self._counted(self._encryptor.update(packed) + self._encryptor.finalize())

    @property
    def content_digest(self) -> bytes:
        """SHA-256 of the content so far, 32 bytes."""
        return self._content.digest()

    @property
    def payload_commitment(self) -> bytes:
        """The salted commitment that the ledger shows, 32 bytes; once finalized."""
        if self._commitment is None:
            raise FormatError("expected a content that was finalized; this one was not")
        return self._commitment

    def wrap(self, ciphertext_cid: str, recipients: Recipients) -> SealedWraps:
        """Wraps the keys for all recipients, once finalized.

        Raises:
            FormatError: it was not finalized, or a recipient's key is none.
        """
        if self._commitment is None:
            raise FormatError("expected a content that was finalized; this one was not")
        named = SealedCiphertext(
            ciphertext_cid, self._ciphertext.digest(), self._ciphertext_bytes, streamed=True
        )
        return wrap_keys(self._keys, self._identity, named, recipients)

    def _counted(self, ciphertext: bytes) -> bytes:
        self._ciphertext.update(ciphertext)
        self._ciphertext_bytes += len(ciphertext)
        return ciphertext
