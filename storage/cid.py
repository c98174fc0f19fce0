"""Content identifiers: CIDv1 with sha2-256, codec raw or dag-pb, written in base32 lower case.

Sources: https://github.com/multiformats/cid, https://github.com/multiformats/multicodec (code table).
"""

import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum

import libipld

from storage.errors import CidError

DIGEST_BYTES = 32
CID_BYTES = 36
CID_CHARACTERS = 59
_SHA2_256 = 0x12
_CANONICAL_TEXT = re.compile(r"b[a-z2-7]{58}", re.ASCII)


class Codec(IntEnum):
    """How a block's bytes are to be read; the value is the multicodec code and goes on the ledger."""

    RAW = 0x55
    """Bytes without structure: a leaf, a header, a whole small file."""
    DAG_PB = 0x70
    """A node that links to other blocks."""


@dataclass(frozen=True, slots=True, order=True)
class Cid:
    """The name of a block: how to read it, and the SHA-256 of its bytes.

    On the ledger a CID is ``(codec, digest)``, an integer and a bytes32: ``Cid.from_parts`` takes them back.
    """

    codec: Codec
    digest: bytes
    """SHA-256 of the block, 32 bytes."""

    def __post_init__(self) -> None:
        if not isinstance(self.codec, Codec):
            raise CidError(f"expected a Codec; came {self.codec!r}: use Cid.from_parts for integers")
        if not isinstance(self.digest, bytes) or len(self.digest) != DIGEST_BYTES:
            came = len(self.digest) if isinstance(self.digest, bytes) else type(self.digest).__name__
            raise CidError(f"expected a digest of {DIGEST_BYTES} bytes; came {came}")

    @classmethod
    def of(cls, block: bytes, codec: Codec = Codec.RAW) -> "Cid":
        """The CID of a block's bytes."""
        return cls(codec, hashlib.sha256(block).digest())

    @classmethod
    def from_parts(cls, codec: int, digest: bytes) -> "Cid":
        """The CID of a codec's number and a 32-byte digest, as they stand on the ledger.

        Raises:
            CidError: the codec is neither raw (0x55) nor dag-pb (0x70), or the digest has another length.
        """
        try:
            known = Codec(codec)
        except ValueError:
            raise CidError(f"expected codec raw (0x55) or dag-pb (0x70); came {codec!r}") from None
        return cls(known, digest)

    @classmethod
    def parse(cls, text: str) -> "Cid":
        """The CID of its canonical text, 59 characters that begin with ``bafkrei`` or ``bafybei``.

        Strict: what it accepts, ``str`` writes back letter for letter, so one block has one name.

        Raises:
            CidError: another version, base, hash, codec or length, upper case, or stray bits at the end.
        """
        if not isinstance(text, str) or not _CANONICAL_TEXT.fullmatch(text):
            raise CidError(
                f"expected a CIDv1 of {CID_CHARACTERS} base32 characters in lower case "
                f"(bafkrei... or bafybei...); came {_shortened(text)}"
            )
        return cls._decoded(text)

    @classmethod
    def from_bytes(cls, binary: bytes) -> "Cid":
        """The CID of its binary form, 36 bytes, as it stands inside a dag-pb link.

        Raises:
            CidError: another version, hash, codec or length.
        """
        if not isinstance(binary, bytes) or len(binary) != CID_BYTES:
            raise CidError(f"expected a binary CIDv1 of {CID_BYTES} bytes; came {_shortened(binary)}")
        return cls._decoded(binary)

    @classmethod
    def _decoded(cls, form: str | bytes) -> "Cid":
        try:
            fields = libipld.decode_cid(form)
        except ValueError as error:
            raise CidError(f"expected a CIDv1; came {_shortened(form)}: {error}") from None
        cid = cls.from_parts(fields["codec"], fields["hash"]["digest"])
        # Written again it differs if the version, the hash, or the encoding of any field is another.
        if form not in (str(cid), bytes(cid)):
            raise CidError(f"expected a CIDv1 with sha2-256 in its canonical form; came {_shortened(form)}")
        return cid

    def __bytes__(self) -> bytes:
        return bytes((1, self.codec, _SHA2_256, DIGEST_BYTES)) + self.digest

    def __str__(self) -> str:
        return libipld.encode_cid(bytes(self))

    def __repr__(self) -> str:
        return f"Cid({self})"


def _shortened(form: object) -> str:
    shown = repr(form)
    return shown if len(shown) <= 100 else f"{shown[:100]}... ({type(form).__name__})"
