"""The ledger's state as a fold of its events: ``apply(state, event)``, one event at a time, in order.

The state keeps no access history, only each patient's chain head. Its values are frozen; a reader that holds a
:meth:`LedgerState.copy` is undisturbed by later events.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from ledger import events
from ledger.addresses import to_text
from ledger.entities import (
    Consent,
    ConsentStatus,
    Member,
    MemberKeyVersion,
    Patient,
    PatientStatus,
    Record,
    RecordStatus,
)
from ledger.errors import StateInconsistent
from ledger.heads import first_access_word, head_count, next_access_word, next_author_word
from ledger.messages import NO_RECORD, LedgerScope
from vocabulary import Reason


@dataclass(slots=True)
class LedgerState:
    """Everything that the contract's words say, and what its events add; addresses 20 bytes, ids 32.

    ``access_words`` and ``author_words`` are chain heads (``ledger.heads``) computed by the fold itself.
    """

    scope: LedgerScope
    administrator: bytes | None = None
    minimum_threshold: int = 0
    successor: bytes | None = None
    members: dict[bytes, Member] = field(default_factory=dict)
    patients: dict[bytes, Patient] = field(default_factory=dict)
    records: dict[bytes, Record] = field(default_factory=dict)
    consents: dict[bytes, Consent] = field(default_factory=dict)
    access_words: dict[bytes, int] = field(default_factory=dict)
    author_words: dict[bytes, int] = field(default_factory=dict)
    _record_ids: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict, repr=False)
    _consent_ids: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Finds the records and consents of each patient, where they were given whole."""
        if not self._record_ids and not self._consent_ids:
            for record in self.records.values():
                self.index_record(record)
            for consent in self.consents.values():
                self.index_consent(consent)

    def records_of(self, patient: bytes) -> tuple[Record, ...]:
        """A patient's records, in the order in which they were published."""
        return tuple(self.records[record_id] for record_id in self._record_ids.get(patient, ()))

    def consents_of(self, patient: bytes) -> tuple[Consent, ...]:
        """A patient's consents, in the order in which they reached the ledger, revoked ones too."""
        return tuple(self.consents[consent_id] for consent_id in self._consent_ids.get(patient, ()))

    def index_record(self, record: Record) -> None:
        """Notes a new record under its patient."""
        self._record_ids[record.patient] = (*self._record_ids.get(record.patient, ()), record.record_id)

    def index_consent(self, consent: Consent) -> None:
        """Notes a new consent under its patient."""
        self._consent_ids[consent.patient] = (*self._consent_ids.get(consent.patient, ()), consent.consent_id)

    def copy(self) -> "LedgerState":
        """A state of its own that shares the frozen values."""
        return replace(
            self,
            members=dict(self.members),
            patients=dict(self.patients),
            records=dict(self.records),
            consents=dict(self.consents),
            access_words=dict(self.access_words),
            author_words=dict(self.author_words),
            _record_ids=dict(self._record_ids),
            _consent_ids=dict(self._consent_ids),
        )

    @property
    def sealed(self) -> bool:
        """Whether the administrator sealed the contract: nothing new, while revoking goes on."""
        return self.successor is not None


def apply(state: LedgerState, event: events.Event) -> None:
    """Advances ``state`` by one event, in place.

    Raises:
        StateInconsistent: the event cannot follow this state: one was missed, repeated or altered. The state is
            then as before.
    """
    _STEPS[type(event)](state, event)


def fold(state: LedgerState, several: Iterable[events.Event]) -> LedgerState:
    """A new state, after ``several`` events; ``state`` stays as it is. Raises StateInconsistent."""
    advanced = state.copy()
    for event in several:
        apply(advanced, event)
    return advanced


def _require(holds: bool, event: events.Event, what: str) -> None:
    if not holds:
        at = event.position
        raise StateInconsistent(type(event).__name__, at.block_number, at.log_index, what)


def _member(state: LedgerState, address: bytes, event: events.Event) -> Member:
    _require(address in state.members, event, f"an enrolled member {to_text(address)}")
    return state.members[address]


def _patient(state: LedgerState, address: bytes, event: events.Event) -> Patient:
    _require(address in state.patients, event, f"a registered patient {to_text(address)}")
    return state.patients[address]


def _record(state: LedgerState, record_id: bytes, event: events.Event) -> Record:
    _require(record_id in state.records, event, f"a published record 0x{record_id.hex()}")
    return state.records[record_id]


def _deployed(state: LedgerState, event: events.LedgerDeployed) -> None:
    _require(state.administrator is None, event, "no deployment before")
    state.administrator, state.minimum_threshold = event.administrator, event.minimum_threshold


def _sealed(state: LedgerState, event: events.LedgerSealed) -> None:
    _require(not state.sealed, event, "an open contract")
    state.successor = event.successor


def _enrolled(state: LedgerState, event: events.MemberEnrolled) -> None:
    _require(event.member not in state.members, event, "a member not yet enrolled")
    state.members[event.member] = Member(event.member, event.roles, True, (), event.position.block_number)


def _keys_changed(state: LedgerState, event: events.MemberKeysChanged) -> None:
    member = _member(state, event.member, event)
    _require(event.version == len(member.keys) + 1, event, f"key version {len(member.keys) + 1}")
    keys = MemberKeyVersion(
        event.version,
        event.name,
        event.endpoint,
        event.encryption_key,
        event.transport_key,
        event.profile_digest,
        event.position.block_number,
    )
    state.members[event.member] = replace(member, keys=(*member.keys, keys))


def _roles_changed(state: LedgerState, event: events.MemberRolesChanged) -> None:
    state.members[event.member] = replace(_member(state, event.member, event), roles=event.roles)


def _suspended(state: LedgerState, event: events.MemberSuspended) -> None:
    state.members[event.member] = replace(_member(state, event.member, event), active=False)


def _reinstated(state: LedgerState, event: events.MemberReinstated) -> None:
    state.members[event.member] = replace(_member(state, event.member, event), active=True)


def _registered(state: LedgerState, event: events.PatientRegistered) -> None:
    _require(event.patient not in state.patients, event, "a patient not yet registered")
    _member(state, event.provider, event)
    state.access_words[event.patient] = first_access_word(state.scope, event.patient)
    state.patients[event.patient] = Patient(
        event.patient,
        event.provider,
        0,
        0,
        0,
        PatientStatus.ACTIVE,
        (event.keyring_digest,),
        event.position.block_number,
    )


def _rotated(state: LedgerState, event: events.KeyringRotated) -> None:
    patient = _patient(state, event.patient, event)
    _require(event.epoch == patient.epoch + 1, event, f"epoch {patient.epoch + 1}")
    digests = (*patient.keyring_digests, event.keyring_digest)
    state.patients[event.patient] = replace(patient, keyring_digests=digests)


def _policy_changed(state: LedgerState, event: events.DenyPolicyChanged) -> None:
    patient = _patient(state, event.patient, event)
    _require(event.nonce > patient.policy_nonce, event, f"a policy nonce above {patient.policy_nonce}")
    state.patients[event.patient] = replace(
        patient, deny_categories=event.categories, deny_purposes=event.purposes, policy_nonce=event.nonce
    )


def _ended(state: LedgerState, event: events.RelationshipEnded) -> None:
    patient = _patient(state, event.patient, event)
    state.patients[event.patient] = replace(patient, status=PatientStatus.RELATIONSHIP_ENDED)


def _frozen(state: LedgerState, event: events.PatientFrozen) -> None:
    patient = _patient(state, event.patient, event)
    state.patients[event.patient] = replace(patient, status=PatientStatus.FROZEN)


def _published(state: LedgerState, event: events.RecordPublished) -> None:
    _require(event.record_id not in state.records, event, "a record not yet published")
    _patient(state, event.patient, event)
    made = event.publication
    state.author_words[event.author] = next_author_word(state.author_words.get(event.author, 0), event)
    state.records[event.record_id] = Record(
        record_id=event.record_id,
        patient=event.patient,
        author=event.author,
        category=made.category,
        start_day=made.start_day,
        end_day=made.end_day,
        epoch=made.epoch,
        nonce=made.nonce,
        deadline=made.deadline,
        cid_codec=made.cid_codec,
        cid_digest=made.cid_digest,
        header_digest=made.header_digest,
        payload_commitment=made.payload_commitment,
        status=RecordStatus.PUBLISHED,
        status_nonce=0,
        superseded_by=None,
        published_block=event.position.block_number,
    )
    state.index_record(state.records[event.record_id])


def _superseded(state: LedgerState, event: events.RecordSuperseded) -> None:
    record = _record(state, event.record_id, event)
    _record(state, event.superseded_by, event)
    status = record.status | RecordStatus.SUPERSEDED
    state.records[event.record_id] = replace(record, status=status, superseded_by=event.superseded_by)


def _retracted(state: LedgerState, event: events.RecordRetracted) -> None:
    record = _record(state, event.record_id, event)
    state.records[event.record_id] = replace(record, status=record.status | RecordStatus.RETRACTED)


def _restricted(state: LedgerState, event: events.RecordRestricted) -> None:
    record = _record(state, event.record_id, event)
    # The correction of a restricted record is born restricted, which no message of the patient orders: nonce 0.
    inherited = event.restricted and event.nonce == record.status_nonce == 0
    newer = event.nonce > record.status_nonce
    _require(newer or inherited, event, f"a status nonce above {record.status_nonce}")
    flag = RecordStatus.RESTRICTED
    status = record.status | flag if event.restricted else record.status & ~flag
    state.records[event.record_id] = replace(record, status=status, status_nonce=event.nonce)


def _granted(state: LedgerState, event: events.ConsentGranted) -> None:
    _require(event.consent_id not in state.consents, event, "an empty consent slot")
    _patient(state, event.patient, event)
    terms = event.terms
    state.consents[event.consent_id] = Consent(
        consent_id=event.consent_id,
        patient=event.patient,
        grantee=event.grantee,
        record_id=terms.record_id,
        categories=terms.categories,
        purposes=terms.purposes,
        valid_from=terms.valid_from,
        valid_until=terms.valid_until,
        data_from=terms.data_from,
        data_until=terms.data_until,
        max_uses=terms.max_uses,
        uses=0,
        flags=terms.flags,
        nonce=terms.nonce,
        status=ConsentStatus.GRANTED,
        granted_block=event.position.block_number,
        revoked_block=None,
    )
    state.index_consent(state.consents[event.consent_id])


def _revoked(state: LedgerState, event: events.ConsentRevoked) -> None:
    block = event.position.block_number
    before = state.consents.get(event.consent_id)
    if before is not None:
        _require(before.status is not ConsentStatus.REVOKED, event, "a consent not yet revoked")
        state.consents[event.consent_id] = replace(before, status=ConsentStatus.REVOKED, revoked_block=block)
        return
    state.consents[event.consent_id] = Consent(
        consent_id=event.consent_id,
        patient=event.patient,
        grantee=event.grantee,
        record_id=NO_RECORD,
        categories=0,
        purposes=0,
        valid_from=0,
        valid_until=0,
        data_from=0,
        data_until=0,
        max_uses=0,
        uses=0,
        flags=0,
        nonce=0,
        status=ConsentStatus.REVOKED,
        granted_block=None,
        revoked_block=block,
    )
    state.index_consent(state.consents[event.consent_id])


def _accessed(state: LedgerState, event: events.AccessEvent) -> None:
    _patient(state, event.patient, event)
    _member(state, event.requester, event)
    word = state.access_words[event.patient]
    changed: dict[bytes, Consent] = {}
    for access in events.accesses(event):
        made = access.access
        _require(
            made.sequence == head_count(word) + 1, event, f"access {head_count(word) + 1} of the patient"
        )
        _record(state, access.record_id, event)
        if made.reason == Reason.PERMITTED:
            consent = changed.get(made.consent_id) or state.consents.get(made.consent_id)
            _require(consent is not None, event, f"a granted consent 0x{made.consent_id.hex()}")
            if consent is not None and consent.max_uses:
                changed[made.consent_id] = replace(consent, uses=consent.uses + 1)
        word = next_access_word(word, access)
    state.access_words[event.patient] = word
    state.consents.update(changed)


def _skipped(state: LedgerState, event: events.RelayItemSkipped) -> None:
    """A skipped item changed nothing."""


_STEPS: dict[type[events.Event], Callable[[LedgerState, Any], None]] = {
    events.LedgerDeployed: _deployed,
    events.LedgerSealed: _sealed,
    events.MemberEnrolled: _enrolled,
    events.MemberKeysChanged: _keys_changed,
    events.MemberRolesChanged: _roles_changed,
    events.MemberSuspended: _suspended,
    events.MemberReinstated: _reinstated,
    events.PatientRegistered: _registered,
    events.KeyringRotated: _rotated,
    events.DenyPolicyChanged: _policy_changed,
    events.RelationshipEnded: _ended,
    events.PatientFrozen: _frozen,
    events.RecordPublished: _published,
    events.RecordSuperseded: _superseded,
    events.RecordRetracted: _retracted,
    events.RecordRestricted: _restricted,
    events.ConsentGranted: _granted,
    events.ConsentRevoked: _revoked,
    events.AccessPermitted: _accessed,
    events.AccessDenied: _accessed,
    events.AccessBatchDecided: _accessed,
    events.RelayItemSkipped: _skipped,
}
