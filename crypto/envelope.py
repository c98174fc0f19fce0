"""The envelope: one record sealed under two locks, so that no single party can open it for a stranger.

    data_key      = 32 random bytes               ciphertext = Cobblestone-256(data_key, record's identity)
    consent_share = 32 random bytes               custody_share = data_key XOR consent_share
    owner_wrap    = HPKE(owner key,    data_key)
    consent_wrap  = HPKE(category key, consent_share)                     lock 1: opened by a consent
    custody_wraps = HPKE(custodian i,  share i of t-of-n(custody_share))  lock 2: opened at a logged access

This module seals; ``crypto.opening`` opens; both share ``crypto.header``. All three are re-exported here.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from cryptography.cobblestone import Cobblestone256Encryptor

from crypto.binding import (
    RecordIdentity,
    consent_wrap_info,
    custody_wrap_info,
    journal_wrap_info,
    owner_wrap_info,
    record_context,
)
from crypto.errors import EpochError, FormatError
from crypto.fields import (
    ADDRESS_BYTES,
    EPOCH_BITS,
    GENERATION_BITS,
    SECRET_BYTES,
    require_octets,
    require_uint,
)
from crypto.header import (
    MAX_HEADER_BYTES,
    CustodianEntry,
    Header,
    check_header,
    read_header,
    share_commitment,
)
from crypto.hpke import OVERHEAD_BYTES, EncryptionKey, key_digest, seal
from crypto.opening import (
    open_ciphertext,
    open_consent_wrap,
    open_custody_wrap,
    open_owner_wrap,
    open_with_owner_key,
    open_with_shares,
    wrong_shares,
    xor,
)
from crypto.shamir import check_threshold, split

WRAP_BYTES = OVERHEAD_BYTES + SECRET_BYTES
"""The size of every wrap: 1168 bytes."""


@dataclass(frozen=True, slots=True)
class Custodian:
    """To whom a share is sealed: a member's account (20 bytes) and its public encryption key (1216 bytes)."""

    address: bytes
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        require_octets("custodian", self.address, ADDRESS_BYTES)


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """All that sealing makes. Ciphertext and header are public; wraps go to the custodians' stores only.

    ``custody_wraps`` are in the order of ``header.custodians``. ``journal_wrap`` is the author's own means to
    retry (``reseal_consent``): it stays in the author's journal until the publish is final, then goes.
    """

    ciphertext: bytes = field(repr=False)
    header: Header
    header_bytes: bytes = field(repr=False)
    owner_wrap: bytes = field(repr=False)
    consent_wrap: bytes = field(repr=False)
    custody_wraps: tuple[bytes, ...] = field(repr=False)
    journal_wrap: bytes | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class ResealedConsent:
    """What a retry under a newer epoch changes: the header and consent_wrap. All else stays as it was."""

    header: Header
    header_bytes: bytes = field(repr=False)
    consent_wrap: bytes = field(repr=False)


def seal_record(
    packed: bytes,
    identity: RecordIdentity,
    epoch: int,
    owner_public: bytes,
    category_public: bytes,
    custodians: Sequence[Custodian],
    threshold: int,
    generation: int = 1,
    *,
    cid_of: Callable[[bytes], str],
    journal_public: bytes | None = None,
) -> SealedRecord:
    """Seals a packed payload (``crypto.payload.pack``) under both locks.

    Args:
        epoch: the keyring's epoch whose ``category_public`` this is.
        owner_public: the patient's owner key, from the keyring, 1216 bytes.
        category_public: the patient's key for ``identity.category`` at ``epoch``, 1216 bytes.
        custodians: who holds shares, 2 to 32 of them; the one at position k holds share k + 1.
        threshold: how many shares open lock 2.
        generation: counts re-sharings of one record among changed custodians, from 1.
        cid_of: the storage's way to compute a ciphertext's CID.
        journal_public: the author's own encryption key, if it wants a ``journal_wrap`` to retry with.

    Raises:
        FormatError: a size, width, key or threshold is impossible; nothing was sealed.
    """
    check_threshold(threshold, len(custodians))
    require_uint("epoch", epoch, EPOCH_BITS)
    require_uint("custody generation", generation, GENERATION_BITS)
    if len({custodian.address for custodian in custodians}) < len(custodians):
        raise FormatError("expected different custodians; came one twice, which would hold two shares")
    data_key = Cobblestone256Encryptor.generate_key()
    consent_share = secrets.token_bytes(SECRET_BYTES)
    shares = split(xor(data_key, consent_share), threshold, len(custodians))

    ciphertext = _encrypt(data_key, packed, identity)
    digest = hashlib.sha256(ciphertext).digest()
    owner_digest, category_digest = key_digest(owner_public), key_digest(category_public)
    owner_wrap = seal(data_key, owner_public, owner_wrap_info(identity, owner_digest, digest))
    consent_wrap = seal(
        consent_share, category_public, consent_wrap_info(identity, epoch, category_digest, digest)
    )
    entries, custody_wraps = [], []
    for index, (custodian, share) in enumerate(zip(custodians, shares, strict=True), start=1):
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
        ciphertext_cid=cid_of(ciphertext),
        ciphertext_digest=digest,
        ciphertext_size=len(ciphertext),
        epoch=epoch,
        owner_key_digest=owner_digest,
        category_key_digest=category_digest,
        threshold=threshold,
        generation=generation,
        custodians=tuple(entries),
        owner_wrap_digest=hashlib.sha256(owner_wrap).digest(),
        consent_wrap_digest=hashlib.sha256(consent_wrap).digest(),
    )
    return SealedRecord(
        ciphertext=ciphertext,
        header=header,
        header_bytes=header.to_bytes(),
        owner_wrap=owner_wrap,
        consent_wrap=consent_wrap,
        custody_wraps=tuple(custody_wraps),
        journal_wrap=None
        if journal_public is None
        else _seal_journal(consent_share, journal_public, identity, digest),
    )


def reseal_consent(
    header: Header, journal_wrap: bytes, journal_key: EncryptionKey, epoch: int, category_public: bytes
) -> ResealedConsent:
    """Seals the consent share again, after a publish reverted with StaleEpoch; lock 2 stays as it is.

    The header changes (epoch, category key, digest of consent_wrap), and so does its digest: custodians get a
    new deposit under it, with the old ``owner_wrap`` and ``custody_wraps``, and purge the first as an orphan.

    Args:
        header: the header whose publish reverted.
        journal_wrap: from ``SealedRecord.journal_wrap``; ``journal_key`` is the author's key that opens it.
        epoch: the current epoch, above the header's, and ``category_public`` its key for the category.

    Raises:
        EpochError: ``epoch`` is not above the header's.
        OpenError: ``journal_wrap`` is not of this record or this key.
    """
    if epoch <= header.epoch:
        raise EpochError(
            f"expected an epoch above {header.epoch}, under which this record is sealed; came {epoch}"
        )
    identity, digest = header.identity, header.ciphertext_digest
    consent_share = journal_key.open(journal_wrap, journal_wrap_info(identity, journal_key.digest, digest))
    recipient = key_digest(category_public)
    consent_wrap = seal(consent_share, category_public, consent_wrap_info(identity, epoch, recipient, digest))
    resealed = replace(
        header,
        epoch=epoch,
        category_key_digest=recipient,
        consent_wrap_digest=hashlib.sha256(consent_wrap).digest(),
    )
    return ResealedConsent(resealed, resealed.to_bytes(), consent_wrap)


def _encrypt(data_key: bytes, packed: bytes, identity: RecordIdentity) -> bytes:
    encryptor = Cobblestone256Encryptor(data_key, record_context(identity))
    return encryptor.update(packed) + encryptor.finalize()


def _seal_journal(consent_share: bytes, public: bytes, identity: RecordIdentity, digest: bytes) -> bytes:
    return seal(consent_share, public, journal_wrap_info(identity, key_digest(public), digest))


__all__ = [
    "MAX_HEADER_BYTES",
    "WRAP_BYTES",
    "Custodian",
    "CustodianEntry",
    "Header",
    "ResealedConsent",
    "SealedRecord",
    "check_header",
    "open_ciphertext",
    "open_consent_wrap",
    "open_custody_wrap",
    "open_owner_wrap",
    "open_with_owner_key",
    "open_with_shares",
    "read_header",
    "reseal_consent",
    "seal_record",
    "share_commitment",
    "wrong_shares",
]
