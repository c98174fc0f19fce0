"""What a member's own staff and systems say to the member's node."""

from urllib.parse import quote, unquote

from pydantic import Field

from wire.limits import IDENTIFIERS_PER_PATIENT, RECORDS_PER_REQUEST
from wire.patients import ConsentView, RecordView
from wire.types import Address, Blob, Bytes32, CategoryLabel, Message, PurposeCode, ReasonCode

PATIENT_IDENTIFIER_HEADER = "PHR-Patient-Identifier"
"""Names the patient of a request: ``system|value`` (FHIR token), percent-encoded. A header, not a part of the URL:
proxies and browsers keep URLs in their logs."""


def encode_patient_identifier(system: str, value: str) -> str:
    """The value of the header ``PHR-Patient-Identifier``."""
    return f"{quote(system, safe='')}|{quote(value, safe='')}"


def decode_patient_identifier(text: str) -> "PatientIdentifierValue":
    """The identifier in a header.

    Raises:
        ValueError: it is not ``system|value``, or one of them is too long or empty.
    """
    system, separator, value = text.partition("|")
    if not separator:
        raise ValueError("expected system|value, each percent-encoded")
    return PatientIdentifierValue(
        system=unquote(system, errors="strict"), value=unquote(value, errors="strict")
    )


class PatientIdentifierValue(Message):
    """A ``Patient.identifier``: the system is a URI, the value the medical record number."""

    system: str = Field(max_length=512)
    value: str = Field(min_length=1, max_length=256)


class RegistrationApproval(Message):
    """Staff confirmed who the person with this code is: these are their identifiers here."""

    code: str = Field(max_length=16)
    identifiers: tuple[PatientIdentifierValue, ...] = Field(min_length=1, max_length=IDENTIFIERS_PER_PATIENT)


class RegisteredPatient(Message):
    """A patient of this member."""

    patient: Address
    identifiers: tuple[PatientIdentifierValue, ...]


class PublishedRecord(Message):
    """One record of a publication."""

    record_id: Bytes32
    category: CategoryLabel
    start_day: int
    end_day: int
    resource_count: int
    ciphertext_bytes: int
    already_published: bool
    """True when the same content was on the ledger before; nothing was published again."""


class Publication(Message):
    """What became of one bundle."""

    publication_id: str
    patient: Address
    state: str
    """``published``, or how far the journal is: ``sealed``, ``deposited``, ``sent``; or ``abandoned``."""
    detail: str
    records: tuple[PublishedRecord, ...]
    seconds_by_step: dict[str, float]


class FileAnnouncement(Message):
    """A file is about to be published as it is: what staff tell of it before its bytes come."""

    media_type: str = Field(max_length=255)
    """RFC 6838, in lower case, without parameters."""
    category: CategoryLabel
    start_day: int = Field(ge=0, lt=2**24)
    end_day: int = Field(ge=0, lt=2**24)
    """Proleptic Gregorian ordinals, inclusive, as in the protocol: 0 and 2^24 - 1 mean unbounded."""
    content_bytes: int = Field(ge=1, lt=2**48)
    content_digest: Bytes32
    """SHA-256 of the file: what arrives is compared with it."""
    supersedes: Bytes32 | None = None
    """An own record of the same category that this file corrects."""


class FileUpload(Message):
    """Where the announced file may be put; or what became of the same file before."""

    upload_id: str | None
    publication: Publication | None


class ConsentedPatient(Message):
    """A patient who granted this member something, as they introduced themselves."""

    patient: Address
    introduction: str
    provider: Address
    consents: tuple[ConsentView, ...]
    records: tuple[RecordView, ...]
    """The records that some consent here would open now, by the rules of the ledger."""


class ReadRequest(Message):
    """Ask the ledger for access and, where permitted, read."""

    patient: Address
    record_ids: tuple[Bytes32, ...] = Field(default=(), max_length=RECORDS_PER_REQUEST)
    """Which records; none means all of the patient's records in ``categories``."""
    categories: tuple[CategoryLabel, ...] = ()
    purpose: PurposeCode
    decide_only: bool = False
    """Only the decision on the ledger, nothing is fetched."""


class Download(Message):
    """A record's content that is fetched by itself, at ``/staff/downloads/{download_id}``, as often as needed."""

    download_id: str
    content_bytes: int
    expires_at: int
    """Seconds since 1970."""


class DownloadOutcome(Message):
    """How the last fetching of a download ended."""

    state: str
    """``open``: none has ended yet; ``complete``: everything was verified and sent; ``failed``."""
    detail: str


class ReadRecord(Message):
    """The decision for one record and, where permitted, its content."""

    record_id: Bytes32
    sequence: int
    reason: ReasonCode
    category: CategoryLabel
    start_day: int
    end_day: int
    author: Address
    media_type: str | None = None
    content: Blob | None = None
    download: Download | None = None
    """Permitted, and too large for this answer: to be fetched apart."""
    failure: str | None = None
    """Permitted, and yet not opened: what went wrong and who caused it."""


class ReadResponse(Message):
    """The answers, in the order asked."""

    patient: Address
    purpose: PurposeCode
    transaction_hashes: tuple[Bytes32, ...]
    records: tuple[ReadRecord, ...]
    seconds_by_step: dict[str, float]


class ReplicationStatus(Message):
    """How many copies of records are where they must be, as far as a node knows."""

    held_full: int
    """Records of which this node is a custodian, and holds all that it must."""
    blocks_missing: int
    """Records of which it lacks blocks, which it could not fetch yet."""
    wraps_missing: int
    """Records of which it lacks its share and wraps: only the author can give them, or a backup of its database."""
    unknown: int
    """Records that it has not looked at, or whose header nobody gave it."""
    to_check: int
    """Records that should have been looked at again already."""
    last_run_at: int | None
    """When it last looked, POSIX seconds."""
    published: int
    """Own records on the ledger."""
    published_under_replicated: int
    """Those of them that some custodian does not hold yet, or told that it lost."""
    deposits_asked_again: int = 0
    """How often since the node's start custodians said to have lost a deposit that it could still give: whoever says
    so again and again keeps this node from forgetting the wraps."""


class PeerStatus(Message):
    """How another custodian is, as seen from a node."""

    member: Address
    name: str
    calls: str
    """``closed``: as usual; ``open``: it failed lately and is not called; ``half-open``: the next call tries."""
    ready: bool
    """What it said of itself when it was last asked."""


class NodeStatus(Message):
    """How a node is, for its operator."""

    member: Address
    name: str
    ready: bool
    degraded: bool = False
    """It works, and of several endpoints of the chain it believes one alone: the warnings say which and why."""
    problems: tuple[str, ...]
    """What is in the way of its work."""
    warnings: tuple[str, ...] = ()
    """What it works around, such as an endpoint of the chain that fails or lies: somebody should look at it."""
    final_block: int
    final_age_seconds: float
    records_held: int
    deposits_without_record: int
    publications_in_progress: int
    transactions_in_flight: int
    ciphertext_bytes: int
    replication: ReplicationStatus
    peers: tuple[PeerStatus, ...]
