"""The envelope: one record sealed under two locks, so that no single party can open it for a stranger.

    data_key      = 32 random bytes               ciphertext = Cobblestone-256(data_key, record's identity)
    consent_share = 32 random bytes               custody_share = data_key XOR consent_share
    owner_wrap    = HPKE(owner key,    data_key)
    consent_wrap  = HPKE(category key, consent_share)                     lock 1: opened by a consent
    custody_wraps = HPKE(custodian i,  share i of t-of-n(custody_share))  lock 2: opened at a logged access

This module seals what fits into memory, ``crypto.streamed_sealing`` what does not; ``crypto.wrapping`` wraps the keys
of both. ``crypto.opening`` opens; all share ``crypto.header``. What callers need of these is re-exported here.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace

from cryptography.cobblestone import Cobblestone256Encryptor

from crypto.binding import RecordIdentity, consent_wrap_info, journal_wrap_info, record_context
from crypto.errors import EpochError
from crypto.fields import SECRET_BYTES
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
)
from crypto.wrapping import (
    Custodian,
    Recipients,
    RecordSecrets,
    SealedCiphertext,
    SealedWraps,
    wrap_keys,
)

WRAP_BYTES = OVERHEAD_BYTES + SECRET_BYTES
"""The size of every wrap: 1168 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRecord(SealedWraps):
    """All that ``seal_record`` makes: the wraps and their header, and the ciphertext, which is public too."""

    ciphertext: bytes = field(repr=False)


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
    recipients = Recipients(
        epoch, owner_public, category_public, custodians, threshold, generation, journal_public
    )
    keys = RecordSecrets.generate()
    ciphertext = _encrypt(keys.data_key, packed, identity)
    named = SealedCiphertext(
        cid_of(ciphertext), hashlib.sha256(ciphertext).digest(), len(ciphertext), streamed=False
    )
    wraps = wrap_keys(keys, identity, named, recipients)
    return SealedRecord(
        ciphertext=ciphertext, **{one.name: getattr(wraps, one.name) for one in fields(SealedWraps)}
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


__all__ = [
    "MAX_HEADER_BYTES",
    "WRAP_BYTES",
    "Custodian",
    "CustodianEntry",
    "Header",
    "Recipients",
    "ResealedConsent",
    "SealedRecord",
    "SealedWraps",
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
