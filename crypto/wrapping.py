"""Wrapping a record's key for all who may ever open it; ``crypto.envelope`` says which lock each wrap belongs to."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.cobblestone import Cobblestone256Encryptor

from crypto.binding import (
    RecordIdentity,
    consent_wrap_info,
    custody_wrap_info,
    journal_wrap_info,
    owner_wrap_info,
)
from crypto.errors import FormatError
from crypto.fields import (
    ADDRESS_BYTES,
    EPOCH_BITS,
    GENERATION_BITS,
    SECRET_BYTES,
    require_octets,
    require_uint,
)
from crypto.header import CustodianEntry, Header, share_commitment
from crypto.hpke import key_digest, seal
from crypto.opening import xor
from crypto.shamir import check_threshold, split


@dataclass(frozen=True, slots=True)
class Custodian:
    """To whom a share is sealed: a member's account (20 bytes) and its public encryption key (1216 bytes)."""

    address: bytes
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        require_octets("custodian", self.address, ADDRESS_BYTES)


@dataclass(frozen=True, slots=True)
class Recipients:
    """For whom a record is sealed.

    Attributes:
        epoch: the keyring's epoch whose ``category_public`` this is.
        owner_public: the patient's owner key, from the keyring, 1216 bytes.
        category_public: the patient's key for the record's category at ``epoch``, 1216 bytes.
        custodians: who holds shares, 2 to 32 of them; the one at position k holds share k + 1.
        threshold: how many shares open lock 2.
        generation: counts re-sharings of one record among changed custodians, from 1.
        journal_public: the author's own encryption key, if it wants a ``journal_wrap`` to retry with.

    Raises:
        FormatError: a width or the threshold is impossible, or a custodian is named twice.
    """

    epoch: int
    owner_public: bytes = field(repr=False)
    category_public: bytes = field(repr=False)
    custodians: Sequence[Custodian]
    threshold: int
    generation: int = 1
    journal_public: bytes | None = field(repr=False, default=None)

    def __post_init__(self) -> None:
        check_threshold(self.threshold, len(self.custodians))
        require_uint("epoch", self.epoch, EPOCH_BITS)
        require_uint("custody generation", self.generation, GENERATION_BITS)
        if len({custodian.address for custodian in self.custodians}) < len(self.custodians):
            raise FormatError("expected different custodians; came one twice, which would hold two shares")


@dataclass(frozen=True, slots=True)
class RecordSecrets:
    """A record's data key and consent share, 32 random bytes each."""

    data_key: bytes = field(repr=False)
    consent_share: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> "RecordSecrets":
        """Fresh ones."""
        return cls(Cobblestone256Encryptor.generate_key(), secrets.token_bytes(SECRET_BYTES))


@dataclass(frozen=True, slots=True)
class SealedCiphertext:
    """What a header tells of a ciphertext: its CID in text, SHA-256 (32 bytes), size, and the payload's layout."""

    cid: str
    digest: bytes
    size_bytes: int
    streamed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedWraps:
    """All that sealing makes beside the ciphertext. The header is public; wraps go to the custodians' stores only.

    ``custody_wraps`` are in the order of ``header.custodians``. ``journal_wrap`` is the author's own means to
    retry (``reseal_consent``): it stays in the author's journal until the publish is final, then goes.
    """

    header: Header
    header_bytes: bytes = field(repr=False)
    owner_wrap: bytes = field(repr=False)
    consent_wrap: bytes = field(repr=False)
    custody_wraps: tuple[bytes, ...] = field(repr=False)
    journal_wrap: bytes | None = field(repr=False, default=None)


def wrap_keys(
    keys: RecordSecrets, identity: RecordIdentity, ciphertext: SealedCiphertext, recipients: Recipients
) -> SealedWraps:
    """Shares and wraps the keys that a ciphertext was made with, and names all of it in a header.

    Raises:
        FormatError: a recipient's key is none, or the CID is too long.
    """
    digest, generation = ciphertext.digest, recipients.generation
    shares = split(xor(keys.data_key, keys.consent_share), recipients.threshold, len(recipients.custodians))
    owner_digest = key_digest(recipients.owner_public)
    category_digest = key_digest(recipients.category_public)
    owner_wrap = seal(keys.data_key, recipients.owner_public, owner_wrap_info(identity, owner_digest, digest))
    consent_wrap = seal(
        keys.consent_share,
        recipients.category_public,
        consent_wrap_info(identity, recipients.epoch, category_digest, digest),
    )
    entries, custody_wraps = [], []
    for index, (custodian, share) in enumerate(zip(recipients.custodians, shares, strict=True), start=1):
        recipient = key_digest(custodian.key)
        info = custody_wrap_info(identity, generation, index, custodian.address, recipient, digest)
        wrap = seal(share, custodian.key, info)
        custody_wraps.append(wrap)
        entries.append(
            CustodianEntry(
                address=custodian.address,
                key_digest=recipient,
                share_commitment=share_commitment(identity.record_id, generation, index, share),
                wrap_digest=hashlib.sha256(wrap).digest(),
            )
        )
    header = Header(
        identity=identity,
        ciphertext_cid=ciphertext.cid,
        ciphertext_digest=digest,
        ciphertext_size=ciphertext.size_bytes,
        epoch=recipients.epoch,
        owner_key_digest=owner_digest,
        category_key_digest=category_digest,
        threshold=recipients.threshold,
        generation=generation,
        custodians=tuple(entries),
        owner_wrap_digest=hashlib.sha256(owner_wrap).digest(),
        consent_wrap_digest=hashlib.sha256(consent_wrap).digest(),
        streamed=ciphertext.streamed,
    )
    return SealedWraps(
        header=header,
        header_bytes=header.to_bytes(),
        owner_wrap=owner_wrap,
        consent_wrap=consent_wrap,
        custody_wraps=tuple(custody_wraps),
        journal_wrap=None
        if recipients.journal_public is None
        else _seal_journal(keys.consent_share, recipients.journal_public, identity, digest),
    )


def _seal_journal(consent_share: bytes, public: bytes, identity: RecordIdentity, digest: bytes) -> bytes:
    return seal(consent_share, public, journal_wrap_info(identity, key_digest(public), digest))
