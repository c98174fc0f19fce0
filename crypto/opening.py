"""Opening what ``crypto.envelope`` sealed, one lock at a time.

Every function takes a ``Header`` that ``read_header`` checked against the ledger, and checks what it is given
against that header before using it; so a wrong answer names the one who gave it.
"""

import secrets
from collections.abc import Mapping

from cryptography.cobblestone import Cobblestone256Decryptor
from cryptography.exceptions import InvalidTag

from crypto.binding import (
    RecordIdentity,
    consent_wrap_info,
    custody_wrap_info,
    owner_wrap_info,
    record_context,
)
from crypto.errors import DigestMismatchError, FormatError, OpenError, WrongShareError
from crypto.fields import SECRET_BYTES, require_octets
from crypto.header import Header, require_digest, require_identity, share_commitment
from crypto.hpke import EncryptionKey
from crypto.shamir import SHARE_BYTES, combine


def open_owner_wrap(owner_key: EncryptionKey, owner_wrap: bytes, header: Header) -> bytes:
    """The record's data key, 32 bytes, by the patient's owner key.

    Raises:
        DigestMismatchError: this is not the wrap that the header names.
        OpenError: it is sealed to another owner key, or its author sealed something else.
    """
    require_digest("owner_wrap", owner_wrap, header.owner_wrap_digest)
    _require_key("owner_wrap", owner_key, header.owner_key_digest)
    info = owner_wrap_info(header.identity, owner_key.digest, header.ciphertext_digest)
    return _secret("owner_wrap", owner_key.open(owner_wrap, info))


def open_consent_wrap(category_key: EncryptionKey, consent_wrap: bytes, header: Header) -> bytes:
    """Lock 1: the consent share, 32 bytes, by the category key that a grant handed over.

    Raises:
        DigestMismatchError: this is not the wrap that the header names.
        OpenError: it is sealed to another category key (another version, say), or to something else.
    """
    require_digest("consent_wrap", consent_wrap, header.consent_wrap_digest)
    _require_key("consent_wrap", category_key, header.category_key_digest)
    info = consent_wrap_info(header.identity, header.epoch, category_key.digest, header.ciphertext_digest)
    return _secret("consent_wrap", category_key.open(consent_wrap, info))


def open_custody_wrap(
    custodian_key: EncryptionKey, custody_wrap: bytes, header: Header, custodian: bytes
) -> bytes:
    """Lock 2: a custodian's own share, 32 bytes. A custodian acknowledges a deposit only when this succeeds.

    Args:
        custodian_key: the key of that member whose digest the header names; members keep their old ones.
        custodian: the member's account, 20 bytes.

    Raises:
        HeaderError: ``custodian`` holds no share of this record.
        DigestMismatchError: this is not the wrap that the header names.
        OpenError: it is sealed to another key.
        WrongShareError: it opens, but to a share that the header does not commit to.
    """
    index = header.share_index_of(custodian)
    entry = header.custodians[index - 1]
    require_digest("custody wrap", custody_wrap, entry.wrap_digest)
    _require_key("custody wrap", custodian_key, entry.key_digest)
    info = custody_wrap_info(
        header.identity,
        header.generation,
        index,
        custodian,
        custodian_key.digest,
        header.ciphertext_digest,
    )
    share = _secret("custody wrap", custodian_key.open(custody_wrap, info))
    if wrong := wrong_shares(header, {index: share}):
        raise WrongShareError(wrong)
    return share


def wrong_shares(header: Header, shares: Mapping[int, bytes]) -> tuple[tuple[int, bytes], ...]:
    """Those of ``shares`` (by index, 1..n) that the header does not commit to, each with its custodian.

    Raises:
        FormatError: an index that this record does not have.
    """
    wrong = []
    for index, share in sorted(shares.items()):
        if not 1 <= index <= len(header.custodians):
            raise FormatError(f"share index: expected 1 to {len(header.custodians)}; came {index}")
        entry = header.custodians[index - 1]
        actual = share_commitment(header.identity.record_id, header.generation, index, share)
        if len(share) != SHARE_BYTES or actual != entry.share_commitment:
            wrong.append((index, entry.address))
    return tuple(wrong)


def open_with_owner_key(
    owner_key: EncryptionKey, owner_wrap: bytes, header: Header, ciphertext: bytes, identity: RecordIdentity
) -> bytes:
    """The packed payload, by the patient alone.

    Raises:
        HeaderError: the header is not of ``identity``, the record as the ledger has it.
        DigestMismatchError: the wrap or the ciphertext is not the one that the header names.
        OpenError: the wrap or the ciphertext does not open.
    """
    require_identity(header, identity)
    data_key = open_owner_wrap(owner_key, owner_wrap, header)
    return open_ciphertext(data_key, header, ciphertext)


def open_with_shares(
    consent_share: bytes,
    shares: Mapping[int, bytes],
    header: Header,
    ciphertext: bytes,
    identity: RecordIdentity,
) -> bytes:
    """The packed payload, by both locks: the consent share and t custodians' shares by index (1..n).

    Raises:
        HeaderError, WrongShareError, FormatError: as ``combine_shares``.
        DigestMismatchError: the ciphertext is not the one that the header names.
        OpenError: the consent share is wrong, or the author did not seal what the header says.
    """
    return open_ciphertext(combine_shares(consent_share, shares, header, identity), header, ciphertext)


def combine_shares(
    consent_share: bytes, shares: Mapping[int, bytes], header: Header, identity: RecordIdentity
) -> bytes:
    """The data key (32 bytes), by both locks; whether it is the record's own shows when the content opens.

    Raises:
        HeaderError: the header is not of ``identity``, the record as the ledger has it.
        WrongShareError: some shares are wrong; it names whose, so that the others can be used.
        FormatError: fewer than t shares came.
    """
    require_identity(header, identity)
    require_octets("consent share", consent_share, SECRET_BYTES)
    if wrong := wrong_shares(header, shares):
        raise WrongShareError(wrong)
    return xor(consent_share, combine(shares, header.threshold))


def open_ciphertext(data_key: bytes, header: Header, ciphertext: bytes) -> bytes:
    """The packed payload, by the data key (32 bytes).

    Raises:
        FormatError: the header is of a streamed content: ``crypto.streamed_opening`` opens it.
        DigestMismatchError: the ciphertext is not the one that the header names.
        OpenError: it does not open with this key for this record.
    """
    if header.streamed:
        raise FormatError("expected the header of a whole content; came that of a streamed one")
    if len(ciphertext) != header.ciphertext_size:
        raise DigestMismatchError(
            f"ciphertext: expected {header.ciphertext_size} bytes; came {len(ciphertext)}. Fetch it elsewhere"
        )
    require_digest("ciphertext", ciphertext, header.ciphertext_digest)
    decryptor = Cobblestone256Decryptor(data_key, record_context(header.identity))
    try:
        content = decryptor.update(ciphertext)
        rest = decryptor.finalize()
    except (InvalidTag, ValueError):
        raise OpenError(
            "the ciphertext does not open: a share or wrap was sealed wrongly by its author, or is another record's"
        ) from None
    return content + rest if rest else content


def xor(left: bytes, right: bytes) -> bytes:
    """The exclusive or of two byte strings of one size."""
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def _require_key(what: str, key: EncryptionKey, digest: bytes) -> None:
    if not secrets.compare_digest(key.digest, digest):
        raise OpenError(
            f"{what}: expected the key 0x{digest.hex()}; came 0x{key.digest.hex()}, another or an older one"
        )


def _secret(what: str, opened: bytes) -> bytes:
    if len(opened) != SECRET_BYTES:
        raise OpenError(
            f"{what}: expected {SECRET_BYTES} bytes inside; came {len(opened)}: its author sealed wrongly"
        )
    return opened


__all__ = [
    "combine_shares",
    "open_ciphertext",
    "open_consent_wrap",
    "open_custody_wrap",
    "open_owner_wrap",
    "open_with_owner_key",
    "open_with_shares",
    "wrong_shares",
]
