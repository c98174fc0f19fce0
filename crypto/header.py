"""The record's header: the public block that says how a record was sealed, and for whom.

Its SHA-256 is in the RecordPublished event, so whoever reads a header starts at ``read_header`` with the
digest and the identity that the ledger gives.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from crypto import canonical
from crypto.binding import RecordIdentity, category_field
from crypto.canonical import Fields
from crypto.errors import DigestMismatchError, HeaderError
from crypto.fields import (
    ADDRESS_BYTES,
    CHAIN_ID_BITS,
    DIGEST_BYTES,
    EPOCH_BITS,
    GENERATION_BITS,
    require_octets,
    require_text,
    require_uint,
)
from crypto.labels import Label
from crypto.shamir import MAX_SHARES, check_threshold

MAX_HEADER_BYTES = 16 * 2**10
MAX_CID_BYTES = 128
_SIZE_BITS = 48


@dataclass(frozen=True, slots=True)
class CustodianEntry:
    """One custodian in a header; its share's index is its position, from 1.

    Attributes:
        address: the member's account, 20 bytes.
        key_digest: SHA-256 of the encryption key that its share was sealed to.
        share_commitment: SHA-256 that attributes a wrong share (``share_commitment``).
        wrap_digest: SHA-256 of its custody wrap.
    """

    address: bytes
    key_digest: bytes
    share_commitment: bytes
    wrap_digest: bytes

    def __post_init__(self) -> None:
        require_octets("custodian", self.address, ADDRESS_BYTES)
        require_octets("custodian's key digest", self.key_digest, DIGEST_BYTES)
        require_octets("share commitment", self.share_commitment, DIGEST_BYTES)
        require_octets("custody wrap digest", self.wrap_digest, DIGEST_BYTES)


@dataclass(frozen=True)
class Header:
    """How one record is sealed. Digests are SHA-256, 32 bytes; ``ciphertext_size`` is in bytes.

    ``streamed`` tells which layout the payload has: the document's type, and with it every digest of this header.
    """

    identity: RecordIdentity
    ciphertext_cid: str
    ciphertext_digest: bytes
    ciphertext_size: int
    epoch: int
    owner_key_digest: bytes
    category_key_digest: bytes
    threshold: int
    generation: int
    custodians: tuple[CustodianEntry, ...]
    owner_wrap_digest: bytes
    consent_wrap_digest: bytes
    streamed: bool = False

    def __post_init__(self) -> None:
        require_text("ciphertext CID", self.ciphertext_cid, MAX_CID_BYTES)
        for name in (
            "ciphertext_digest",
            "owner_key_digest",
            "category_key_digest",
            "owner_wrap_digest",
            "consent_wrap_digest",
        ):
            require_octets(name, getattr(self, name), DIGEST_BYTES)
        require_uint("ciphertext size", self.ciphertext_size, _SIZE_BITS)
        require_uint("epoch", self.epoch, EPOCH_BITS)
        require_uint("custody generation", self.generation, GENERATION_BITS)
        require_uint("threshold", self.threshold, 8)
        check_threshold(self.threshold, len(self.custodians))

    def to_bytes(self) -> bytes:
        """The canonical bytes: what is stored as a block, and hashed."""
        identity = self.identity
        return canonical.encode(
            Label.STREAMED_HEADER if self.streamed else Label.HEADER,
            {
                "chainId": identity.chain_id,
                "contract": identity.contract,
                "recordId": identity.record_id,
                "patient": identity.patient,
                "author": identity.author,
                "category": identity.category.value,
                "ciphertextCid": self.ciphertext_cid,
                "ciphertextDigest": self.ciphertext_digest,
                "ciphertextSize": self.ciphertext_size,
                "epoch": self.epoch,
                "ownerKeyDigest": self.owner_key_digest,
                "categoryKeyDigest": self.category_key_digest,
                "threshold": self.threshold,
                "generation": self.generation,
                "custodians": [
                    {
                        "address": entry.address,
                        "keyDigest": entry.key_digest,
                        "shareCommitment": entry.share_commitment,
                        "wrapDigest": entry.wrap_digest,
                    }
                    for entry in self.custodians
                ],
                "ownerWrapDigest": self.owner_wrap_digest,
                "consentWrapDigest": self.consent_wrap_digest,
            },
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Header":
        """The header in ``data``, which may be anyone's: prefer ``read_header``.

        Raises:
            FormatError: it is not the canonical encoding of a header, or over 16 KiB.
        """
        kind, fields = canonical.decode_one_of(data, (Label.HEADER, Label.STREAMED_HEADER), MAX_HEADER_BYTES)
        header = cls(
            identity=RecordIdentity(
                chain_id=fields.uint("chainId", CHAIN_ID_BITS),
                contract=fields.octets("contract", ADDRESS_BYTES),
                record_id=fields.octets("recordId", DIGEST_BYTES),
                patient=fields.octets("patient", ADDRESS_BYTES),
                author=fields.octets("author", ADDRESS_BYTES),
                category=category_field(fields),
            ),
            ciphertext_cid=fields.text("ciphertextCid", MAX_CID_BYTES),
            ciphertext_digest=fields.octets("ciphertextDigest", DIGEST_BYTES),
            ciphertext_size=fields.uint("ciphertextSize", _SIZE_BITS),
            epoch=fields.uint("epoch", EPOCH_BITS),
            owner_key_digest=fields.octets("ownerKeyDigest", DIGEST_BYTES),
            category_key_digest=fields.octets("categoryKeyDigest", DIGEST_BYTES),
            threshold=fields.uint("threshold", 8),
            generation=fields.uint("generation", GENERATION_BITS),
            custodians=tuple(_read_custodian(entry) for entry in fields.maps("custodians", MAX_SHARES)),
            owner_wrap_digest=fields.octets("ownerWrapDigest", DIGEST_BYTES),
            consent_wrap_digest=fields.octets("consentWrapDigest", DIGEST_BYTES),
            streamed=kind is Label.STREAMED_HEADER,
        )
        fields.done()
        return header

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes, 32 bytes: what the ledger holds."""
        return hashlib.sha256(self.to_bytes()).digest()

    def share_index_of(self, custodian: bytes) -> int:
        """The index (1..n) of the share that ``custodian`` (20 bytes) holds.

        Raises:
            HeaderError: it holds none.
        """
        for index, entry in enumerate(self.custodians, start=1):
            if entry.address == custodian:
                return index
        raise HeaderError(
            f"expected a custodian of this record; came 0x{custodian.hex()}, which holds no share"
        )


def _read_custodian(fields: Fields) -> CustodianEntry:
    entry = CustodianEntry(
        address=fields.octets("address", ADDRESS_BYTES),
        key_digest=fields.octets("keyDigest", DIGEST_BYTES),
        share_commitment=fields.octets("shareCommitment", DIGEST_BYTES),
        wrap_digest=fields.octets("wrapDigest", DIGEST_BYTES),
    )
    fields.done()
    return entry


def read_header(data: bytes, digest: bytes, identity: RecordIdentity) -> Header:
    """The header that the ledger means.

    Args:
        data: the header block, from anyone.
        digest: the header digest in the record's RecordPublished event.
        identity: the record's identity as the ledger has it.

    Raises:
        DigestMismatchError: ``data`` is another block than the ledger means.
        FormatError: its author published something that is no header.
        HeaderError: its author published the header of another record.
    """
    if hashlib.sha256(data).digest() != digest:
        raise DigestMismatchError(
            "expected the header whose digest is on the ledger; came another. Fetch it elsewhere"
        )
    header = Header.from_bytes(data)
    if header.identity != identity:
        raise HeaderError(
            "expected the header of the record on the ledger; its author published another record's"
        )
    return header


def check_header(header: Header, minimum_threshold: int, is_custodian: Callable[[bytes], bool]) -> None:
    """Refuses a header that would weaken the second lock.

    Args:
        minimum_threshold: the network's least number of custodians that must agree.
        is_custodian: whether an account (20 bytes) is an active member with the role CUSTODIAN.

    Raises:
        HeaderError: the threshold is too low, a custodian or its key appears twice, or is none.
    """
    if header.threshold < minimum_threshold:
        raise HeaderError(f"expected a threshold of at least {minimum_threshold}; came {header.threshold}")
    if len({entry.address for entry in header.custodians}) < len(header.custodians):
        raise HeaderError("expected different custodians; came one twice")
    if len({entry.key_digest for entry in header.custodians}) < len(header.custodians):
        raise HeaderError(
            "expected a key for each custodian; came two with one key, which would hold two shares"
        )
    for entry in header.custodians:
        if not is_custodian(entry.address):
            raise HeaderError(
                f"expected custodians with the role; came 0x{entry.address.hex()}, which has not the role CUSTODIAN"
            )


def share_commitment(record_id: bytes, generation: int, share_index: int, share: bytes) -> bytes:
    """SHA-256 of: label and zero, record id (32), generation (4), share index (1), share (32)."""
    return hashlib.sha256(
        b"".join(
            (
                Label.SHARE_COMMITMENT.prefix,
                record_id,
                generation.to_bytes(4),
                share_index.to_bytes(1),
                share,
            )
        )
    ).digest()


def require_digest(what: str, data: bytes, digest: bytes) -> None:
    """Checks public bytes against the digest that names them.

    Raises:
        DigestMismatchError: they are others.
    """
    if hashlib.sha256(data).digest() != digest:
        raise DigestMismatchError(f"{what}: expected the bytes that the header names; came others")


def require_identity(header: Header, identity: RecordIdentity) -> None:
    """Checks that a header is of the record that the ledger means.

    Raises:
        HeaderError: it is another record's.
    """
    if header.identity != identity:
        raise HeaderError(
            f"expected the header of record 0x{identity.record_id.hex()} as the ledger has it; came another's"
        )


__all__ = [
    "MAX_HEADER_BYTES",
    "CustodianEntry",
    "Header",
    "check_header",
    "read_header",
    "share_commitment",
]
