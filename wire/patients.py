"""What a patient's wallet and a node say to each other."""

from typing import Any

from pydantic import Field

from wire.ledger import BlockReference
from wire.limits import INTRODUCTION_CHARACTERS, MESSAGES_PER_RELAY
from wire.types import Address, Blob, Bytes32, CategoryLabel, Message, PurposeCode, ReasonCode, Signature


class SignedMessage(Message):
    """An EIP-712 message and its signature; ``kind`` names the struct (``Grant``, ``Revocation`` ...)."""

    kind: str
    message: dict[str, Any]
    signature: Signature


class RegistrationRequest(Message):
    """A wallet asks a provider to register its pseudonym; the provider's staff confirm who the person is."""

    registration: SignedMessage
    keyring: Blob


class PendingRegistration(Message):
    """What the patient shows at the desk."""

    code: str
    """Eight digits in two groups, such as ``4821-7730``."""
    expires_at: int
    """Seconds since 1970."""


class RelayRequest(Message):
    """Signed messages of patients for the ledger, in order, in one transaction."""

    messages: tuple[SignedMessage, ...] = Field(min_length=1, max_length=MESSAGES_PER_RELAY)


class RelayOutcome(Message):
    """What became of one message: final on the ledger, or refused with the contract's reason."""

    final: bool
    refusal: str | None = None
    """The contract's error with its arguments, or None."""


class RelayResponse(Message):
    """The outcomes, in the order of the messages."""

    transaction_hash: Bytes32 | None
    final: BlockReference | None
    outcomes: tuple[RelayOutcome, ...]


class PatientView(Message):
    """A pseudonym's state at one final block."""

    final: BlockReference
    patient: Address
    provider: Address
    epoch: int
    status: str
    """``active``, ``ended`` or ``frozen``."""
    keyring_digest: Bytes32
    denied_categories: tuple[CategoryLabel, ...]
    denied_purposes: tuple[PurposeCode, ...]
    policy_nonce: int


class RecordView(Message):
    """A record as on the ledger."""

    record_id: Bytes32
    patient: Address
    author: Address
    category: CategoryLabel
    start_day: int
    end_day: int
    epoch: int
    superseded: bool
    retracted: bool
    restricted: bool
    status_nonce: int
    cid: str
    """CID of the ciphertext."""
    header_digest: Bytes32
    payload_commitment: Bytes32
    """Salted commitment to the payload (``crypto.payload.commitment``): whoever opens the record compares it."""
    published_at: int
    """Seconds since 1970, chain time."""


class RecordsView(Message):
    """Records at one final block."""

    final: BlockReference
    records: tuple[RecordView, ...]


class ConsentView(Message):
    """A consent as on the ledger."""

    consent_id: Bytes32
    patient: Address
    grantee: Address
    record_id: Bytes32 | None
    """The one record of a record-scope consent; None for a consent by category."""
    categories: tuple[CategoryLabel, ...]
    purposes: tuple[PurposeCode, ...]
    valid_from: int
    valid_until: int
    data_from: int
    data_until: int
    max_uses: int
    """0 = unlimited."""
    uses: int
    nonce: int
    revoked: bool


class ConsentsView(Message):
    """Consents at one final block."""

    final: BlockReference
    consents: tuple[ConsentView, ...]


class GrantDelivery(Message):
    """A grant bundle for the grantee's node, and how the patient wishes to be recognised there."""

    bundle: Blob
    """A ``crypto.grant.GrantBundle``, signed by the pseudonym."""
    introduction: str = Field(default="", max_length=INTRODUCTION_CHARACTERS)
    """What the patient tells the grantee's staff about who they are; never on the ledger."""


class GrantAcknowledgement(Message):
    """The grantee's node has the bundle on disk and can open it."""

    consent_id: Bytes32
    member: Address


class OwnCopy(Message):
    """What a patient needs to open one of their own records, or to grant it alone, beside the ciphertext."""

    header: Blob
    owner_wrap: Blob
    consent_wrap: Blob


class AccessView(Message):
    """One decision on the access log."""

    patient: Address
    sequence: int
    record_id: Bytes32
    requester: Address
    consent_id: Bytes32
    purpose: PurposeCode
    reason: ReasonCode
    time: int
    """Seconds since 1970, chain time."""
    block_number: int
    transaction_hash: Bytes32
    response_key_digest: Bytes32
    person_commitment: Bytes32


class ReleaseView(Message):
    """A custodian released its share against a permit."""

    patient: Address
    sequence: int
    record_id: Bytes32
    custodian: Address
    time: int


class OwnReadView(Message):
    """A patient's own read, as logged by the node that served it."""

    record_id: Bytes32
    member: Address
    time: int


class HistoryView(Message):
    """Everything this node knows of who asked for a patient's records."""

    final: BlockReference
    accesses: tuple[AccessView, ...]
    releases: tuple[ReleaseView, ...]
    own_reads: tuple[OwnReadView, ...]
