"""The contract's events, one frozen dataclass each, and a decoder that lets none pass unknown.

Field names and order are the contract's in snake case; ``position`` says where the event stands on the chain.
Source of the layout: Solidity documentation, "Contract ABI Specification", section Events.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode as abi_decode
from eth_abi.abi import encode as abi_encode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak

from ledger.blocks import Log, Position
from ledger.errors import EventUnknown
from ledger.messages import Grant, Publication
from ledger.solidity import (
    Address,
    Bool,
    Bytes,
    Bytes32,
    Indexed,
    SolidityField,
    SolidityType,
    Struct,
    Uint8,
    Uint16,
    Uint24,
    Uint32,
    Uint40,
    Uint64,
    Uint256,
    fields_of,
)

DECISION_BYTES = 33
"""One decision of a batch: a record id and a reason."""


@dataclass(frozen=True, slots=True)
class Event(Struct):
    """Something that the contract recorded."""

    position: Position


@dataclass(frozen=True, slots=True)
class LedgerDeployed(Event):
    """The contract was deployed."""

    administrator: Address
    minimum_threshold: Uint8


@dataclass(frozen=True, slots=True)
class LedgerSealed(Event):
    """The contract admits nothing new; ``successor`` takes over."""

    successor: Address


@dataclass(frozen=True, slots=True)
class MemberEnrolled(Event):
    """A member was enrolled, active, with these roles (a mask)."""

    member: Indexed[Address]
    roles: Uint16


def profile_digest(name: bytes, endpoint: bytes) -> bytes:
    """keccak256(abi.encode(name, endpoint)) of a member's name and endpoint in UTF-8, as the contract stores it."""
    return keccak(abi_encode(["bytes", "bytes"], [name, endpoint]))


@dataclass(frozen=True, slots=True)
class MemberKeysChanged(Event):
    """A member's whole keys, name and endpoint.

    The contract does not check that texts are UTF-8: :attr:`name_bytes` are the exact bytes, :attr:`name` has
    U+FFFD for what is not UTF-8. Both may hold any character: escape them before showing them.
    """

    member: Indexed[Address]
    version: Uint64
    name_bytes: Bytes
    endpoint_bytes: Bytes
    encryption_key: Bytes
    transport_key: Bytes32

    @property
    def name(self) -> str:
        """The organisation's name."""
        return self.name_bytes.decode(errors="replace")

    @property
    def endpoint(self) -> str:
        """The URL of the member's node."""
        return self.endpoint_bytes.decode(errors="replace")

    @property
    def profile_digest(self) -> bytes:
        """As the contract stores it."""
        return profile_digest(self.name_bytes, self.endpoint_bytes)


@dataclass(frozen=True, slots=True)
class MemberRolesChanged(Event):
    """A member's roles (a mask) were set."""

    member: Indexed[Address]
    roles: Uint16


@dataclass(frozen=True, slots=True)
class MemberSuspended(Event):
    """A member may do nothing until it is reinstated."""

    member: Indexed[Address]


@dataclass(frozen=True, slots=True)
class MemberReinstated(Event):
    """A suspended member is active again."""

    member: Indexed[Address]


@dataclass(frozen=True, slots=True)
class PatientRegistered(Event):
    """A pseudonym lets a provider publish for it."""

    patient: Indexed[Address]
    provider: Indexed[Address]
    keyring_digest: Bytes32
    nonce: Uint64


@dataclass(frozen=True, slots=True)
class KeyringRotated(Event):
    """A pseudonym's keyring has a new epoch."""

    patient: Indexed[Address]
    epoch: Uint16
    keyring_digest: Bytes32


@dataclass(frozen=True, slots=True)
class DenyPolicyChanged(Event):
    """What a pseudonym denies to everyone (masks)."""

    patient: Indexed[Address]
    categories: Uint32
    purposes: Uint16
    nonce: Uint24


@dataclass(frozen=True, slots=True)
class RelationshipEnded(Event):
    """The provider publishes no more for this pseudonym."""

    patient: Indexed[Address]
    provider: Indexed[Address]


@dataclass(frozen=True, slots=True)
class PatientFrozen(Event):
    """The pseudonym's key was stolen; everything is denied."""

    patient: Indexed[Address]


@dataclass(frozen=True, slots=True)
class RecordPublished(Event):
    """A record was published."""

    record_id: Indexed[Bytes32]
    patient: Indexed[Address]
    author: Indexed[Address]
    publication: Publication


@dataclass(frozen=True, slots=True)
class RecordSuperseded(Event):
    """A record has a correction; it stays readable."""

    record_id: Indexed[Bytes32]
    superseded_by: Indexed[Bytes32]


@dataclass(frozen=True, slots=True)
class RecordRetracted(Event):
    """A record was withdrawn by its provider."""

    record_id: Indexed[Bytes32]


@dataclass(frozen=True, slots=True)
class RecordRestricted(Event):
    """The patient restricted a record, or lifted the restriction."""

    record_id: Indexed[Bytes32]
    restricted: Bool
    nonce: Uint16


@dataclass(frozen=True, slots=True)
class ConsentGranted(Event):
    """A consent was granted on these terms."""

    consent_id: Indexed[Bytes32]
    patient: Indexed[Address]
    grantee: Indexed[Address]
    terms: Grant


@dataclass(frozen=True, slots=True)
class ConsentRevoked(Event):
    """A consent was revoked, perhaps before it ever landed."""

    consent_id: Indexed[Bytes32]
    patient: Indexed[Address]
    grantee: Indexed[Address]


@dataclass(frozen=True, slots=True)
class Access(Struct):
    """A decision, as logged; ``time`` is the block's, in POSIX seconds."""

    sequence: Uint32
    reason: Uint8
    purpose: Uint8
    consent_id: Bytes32
    response_key_digest: Bytes32
    person_commitment: Bytes32
    time: Uint40


@dataclass(frozen=True, slots=True)
class AccessPermitted(Event):
    """An access was permitted."""

    patient: Indexed[Address]
    requester: Indexed[Address]
    record_id: Indexed[Bytes32]
    access: Access


@dataclass(frozen=True, slots=True)
class AccessDenied(Event):
    """An access was denied; ``access.reason`` says why."""

    patient: Indexed[Address]
    requester: Indexed[Address]
    record_id: Indexed[Bytes32]
    access: Access


@dataclass(frozen=True, slots=True)
class AccessBatch(Struct):
    """What the decisions of one group have in common."""

    first_sequence: Uint32
    purpose: Uint8
    response_key_digest: Bytes32
    person_commitment: Bytes32
    time: Uint40


@dataclass(frozen=True, slots=True)
class AccessBatchDecided(Event):
    """The decisions of one group of a batched request: 33 bytes each in ``decisions``."""

    patient: Indexed[Address]
    requester: Indexed[Address]
    consent_id: Indexed[Bytes32]
    batch: AccessBatch
    decisions: Bytes


@dataclass(frozen=True, slots=True)
class RelayItemSkipped(Event):
    """One call of a relayed batch was refused; ``reason`` is its revert data."""

    index: Uint256
    reason: Bytes


AccessEvent = AccessPermitted | AccessDenied | AccessBatchDecided
"""The events that advance a patient's access chain."""

EVENT_TYPES: tuple[type[Event], ...] = (
    LedgerDeployed,
    LedgerSealed,
    MemberEnrolled,
    MemberKeysChanged,
    MemberRolesChanged,
    MemberSuspended,
    MemberReinstated,
    PatientRegistered,
    KeyringRotated,
    DenyPolicyChanged,
    RelationshipEnded,
    PatientFrozen,
    RecordPublished,
    RecordSuperseded,
    RecordRetracted,
    RecordRestricted,
    ConsentGranted,
    ConsentRevoked,
    AccessPermitted,
    AccessDenied,
    AccessBatchDecided,
    RelayItemSkipped,
)
"""Every event of the contract."""


@dataclass(frozen=True, slots=True)
class LoggedAccess:
    """One decision, whether it was logged alone or in a batch: one link of the patient's access chain."""

    patient: bytes
    requester: bytes
    record_id: bytes
    access: Access
    position: Position


def accesses(event: AccessEvent) -> Iterator[LoggedAccess]:
    """The decisions of an access event, one by one and in order of their sequence.

    Raises:
        EventUnknown: the decisions of a batch are not a whole number of 33 bytes.
    """
    if not isinstance(event, AccessBatchDecided):
        yield LoggedAccess(event.patient, event.requester, event.record_id, event.access, event.position)
        return
    packed, batch = event.decisions, event.batch
    if not packed or len(packed) % DECISION_BYTES:
        raise EventUnknown(
            f"expected decisions of {DECISION_BYTES} bytes each; came {len(packed)} bytes in all"
        )
    for index in range(len(packed) // DECISION_BYTES):
        start = index * DECISION_BYTES
        access = Access(
            batch.first_sequence + index,
            packed[start + 32],
            batch.purpose,
            event.consent_id,
            batch.response_key_digest,
            batch.person_commitment,
            batch.time,
        )
        yield LoggedAccess(event.patient, event.requester, packed[start : start + 32], access, event.position)


_SOLIDITY_TEXTS = {"name_bytes": "string", "endpoint_bytes": "string"}


def signature(event_type: type[Event]) -> str:
    """An event's canonical signature: ``MemberEnrolled(address,uint16)``."""
    types = (_SOLIDITY_TEXTS.get(field.name, field.abi) for field in fields_of(event_type))
    return f"{event_type.__name__}({','.join(types)})"


def topic(event_type: type[Event]) -> bytes:
    """The first topic (32 bytes) of an event's logs."""
    return keccak(signature(event_type).encode())


@dataclass(frozen=True, slots=True)
class _Layout:
    event_type: type[Event]
    indexed: tuple[SolidityField, ...]
    unindexed: tuple[SolidityField, ...]
    types: tuple[str, ...]


def _layout(event_type: type[Event]) -> _Layout:
    fields = fields_of(event_type)
    unindexed = tuple(field for field in fields if not field.indexed)
    indexed = tuple(field for field in fields if field.indexed)
    return _Layout(event_type, indexed, unindexed, tuple(field.abi for field in unindexed))


_LAYOUTS = {topic(event_type): _layout(event_type) for event_type in EVENT_TYPES}


def decode(log: Log) -> Event:
    """The event of a log of the contract.

    Raises:
        EventUnknown: no event of this contract has that topic, or the log does not have that event's form: a
            history with a hole must not be folded.
    """
    where = f"log {log.position.log_index} of block {log.position.block_number}"
    layout = _LAYOUTS.get(log.topics[0]) if log.topics else None
    if layout is None:
        name = "0x" + log.topics[0].hex() if log.topics else "none"
        raise EventUnknown(
            f"{where} has topic {name}, which this version does not know: upgrade before replaying"
        )
    if len(log.topics) != 1 + len(layout.indexed):
        raise EventUnknown(f"{where}: expected {1 + len(layout.indexed)} topics; came {len(log.topics)}")
    values: dict[str, Any] = {"position": log.position}
    try:
        for field, word in zip(layout.indexed, log.topics[1:], strict=True):
            values[field.name] = _convert(field.type, abi_decode([field.abi], word)[0])
        for field, value in zip(layout.unindexed, abi_decode(layout.types, log.data), strict=True):
            values[field.name] = _convert(field.type, value)
        return layout.event_type(**values)
    except (DecodingError, ValueError, OverflowError) as error:
        name = layout.event_type.__name__
        raise EventUnknown(f"{where} does not have the form of {name}: {error}") from error


def _convert(kind: SolidityType | type, value: Any) -> Any:
    if isinstance(kind, SolidityType):
        return bytes.fromhex(value[2:]) if kind.kind == "address" else value
    parts = zip(fields_of(kind), value, strict=True)
    return kind(**{field.name: _convert(field.type, part) for field, part in parts})
