"""What an author deposits with a custodian, and what a requester gets from it."""

import hashlib

from pydantic import Field

from wire.limits import DEPOSITS_PER_REQUEST, RECORDS_PER_REQUEST
from wire.types import Address, Blob, Bytes32, Message, Signature

DEPOSIT_LABEL = "phr/v1/deposit"
DEPOSIT_RECEIPT_LABEL = "phr/v1/deposit-receipt"


class DepositRequest(Message):
    """All that one custodian must hold of a record, signed by the record's author.

    Keyed by (record id, header digest) and never overwritten.
    """

    header: Blob
    share_index: int = Field(ge=1, le=255)
    owner_wrap: Blob
    consent_wrap: Blob
    custody_wrap: Blob
    deadline: int = Field(ge=0, lt=2**40)
    """Seconds since 1970, chain time: the publication's deadline, after which an orphan may be purged."""
    signature: Signature
    """The author's statement signature over ``deposit_statement``."""


class DeliveredBlock(Message):
    """A block of ciphertext and its CID, which the custodian computes again."""

    cid: str = Field(max_length=64)
    block: Blob


class DepositBatch(Message):
    """Deposits of several records at once, with such of their blocks as are not at the custodian yet.

    All deposits are taken, or none; blocks that were delivered with refused deposits are swept later.
    """

    deposits: tuple[DepositRequest, ...] = Field(min_length=1, max_length=DEPOSITS_PER_REQUEST)
    blocks: tuple[DeliveredBlock, ...] = Field(default=(), max_length=DEPOSITS_PER_REQUEST)


def deposit_statement(
    custodian: bytes,
    header: bytes,
    share_index: int,
    owner_wrap: bytes,
    consent_wrap: bytes,
    custody_wrap: bytes,
    deadline: int,
) -> bytes:
    """The bytes that an author signs for a deposit: 20 + 32 + 1 + 3 * 32 + 8 = 157, in this order."""
    digests = b"".join(
        hashlib.sha256(part).digest() for part in (header, owner_wrap, consent_wrap, custody_wrap)
    )
    return custodian + digests[:32] + bytes([share_index]) + digests[32:] + deadline.to_bytes(8, "big")


class DepositReceipt(Message):
    """A custodian has it all on disk; the signature binds record, header, share index and custodian."""

    record_id: Bytes32
    header_digest: Bytes32
    share_index: int
    custodian: Address
    signature: Signature
    """The custodian's statement signature over ``deposit_receipt_statement``."""


class DepositReceipts(Message):
    """The receipts of a batch, in the order of its deposits."""

    receipts: tuple[DepositReceipt, ...]


def deposit_receipt_statement(
    record_id: bytes, header_digest: bytes, share_index: int, custodian: bytes
) -> bytes:
    """The bytes that a custodian signs for a receipt: 32 + 32 + 1 + 20 = 85, in this order."""
    return record_id + header_digest + bytes([share_index]) + custodian


class LostDeposits(Message):
    """A custodian tells an author that it has no deposit any more of some of the author's records."""

    record_ids: tuple[Bytes32, ...] = Field(min_length=1, max_length=RECORDS_PER_REQUEST)


class LostDepositsAnswer(Message):
    """Which of them the author deposits again; of the others nobody has that custodian's share any more."""

    coming: tuple[Bytes32, ...]


class ReleaseItem(Message):
    """One permitted access."""

    sequence: int = Field(ge=1, lt=2**32)
    record_id: Bytes32


class ReleaseRequest(Message):
    """A requester asks a custodian for its shares of records whose access is on the ledger."""

    patient: Address
    response_public_key: Blob
    """X-Wing public key, 1216 bytes, whose SHA-256 the accesses name."""
    items: tuple[ReleaseItem, ...] = Field(min_length=1, max_length=RECORDS_PER_REQUEST)


class Release(Message):
    """A custodian's answer for one item: sealed to the response key with a signed receipt, or a refusal."""

    sequence: int
    record_id: Bytes32
    sealed: Blob | None = None
    receipt: Blob | None = None
    receipt_signature: Signature | None = None
    refusal: str | None = None
    """Why nothing was released, in words that name the rule."""


class ReleaseResponse(Message):
    """The answers, in the order of the items."""

    custodian: Address
    header_by_record: dict[str, Blob]
    """Header bytes by record id (0x text), for those released."""
    releases: tuple[Release, ...]
