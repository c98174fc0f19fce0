"""What a patient denies to everybody, whatever was granted: categories, purposes, single records."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from ledger.messages import DenyPolicy, Restriction
from vocabulary import Category, Purpose, category_mask, purpose_mask
from wallet.content import Relationship, RelationshipStatus
from wallet.errors import NothingToDo, UnknownName
from wallet.overview import OwnRecord, covers, state_of, summary_of
from wallet.previews import PolicyChange, PolicyPreview, RestrictionPreview
from wallet.session import Session
from wallet.state_checks import require_registered
from wallet.statements import state_message
from wire.patients import RecordView


class Direction(Enum):
    """Whether the deny policy grows or shrinks."""

    DENY = "deny"
    ALLOW = "allow"


@dataclass(frozen=True, slots=True)
class _Planned:
    change: PolicyChange
    nonce: int

    @property
    def is_change(self) -> bool:
        before = (self.change.categories_before, self.change.purposes_before)
        return before != (self.change.categories_after, self.change.purposes_after)


def preview_policy(
    session: Session,
    direction: Direction,
    categories: Sequence[Category],
    purposes: Sequence[Purpose],
    patients: Sequence[bytes] | None,
) -> PolicyPreview:
    """What denying, or allowing again, would change.

    Raises:
        NothingToDo: neither categories nor purposes, or no registered pseudonym, or all is so already.
        TooFewNodes, NodesDisagree: see ``wallet.agreement``.
    """
    directory = session.directory()
    planned = _plan(session, direction, categories, purposes, patients)
    closed = opened = 0
    affected = []
    for item in planned:
        change = item.change
        patient = change.patient
        relationship = session.content.relationship(patient)
        newly_denied = set(change.categories_after) - set(change.categories_before)
        newly_allowed = set(change.categories_before) - set(change.categories_after)
        touched = newly_denied | newly_allowed
        touched_purposes = set(change.purposes_after) ^ set(change.purposes_before)
        for record in session.records(patient).records:
            closed += record.category in newly_denied and not record.retracted
            opened += record.category in newly_allowed and not record.retracted
        view = session.consents(patient)
        known = {entry.consent_id: entry for entry in session.content.consents}
        affected += [
            summary_of(consent, relationship, directory, view.final.time, known)
            for consent in view.consents
            if state_of(consent, view.final.time).is_live
            and (touched & set(consent.categories) or touched_purposes & set(consent.purposes))
        ]
    return PolicyPreview(tuple(item.change for item in planned), closed, opened, tuple(affected))


def change_policy(
    session: Session,
    direction: Direction,
    categories: Sequence[Category],
    purposes: Sequence[Purpose],
    patients: Sequence[bytes] | None,
) -> tuple[PolicyChange, ...]:
    """Denies to everybody, or allows again, on the chosen pseudonyms or on all; returns what changed.

    Raises:
        NothingToDo: as :func:`preview_policy`.
        TooFewNodes, NodesDisagree, NotFinalYet: what was signed is in the journal; resume later.
    """
    planned = _plan(session, direction, categories, purposes, patients)
    for item in planned:
        change = item.change
        message = DenyPolicy(
            change.patient,
            category_mask(change.categories_after),
            purpose_mask(change.purposes_after),
            item.nonce,
        )
        state_message(session, change.patient, message)
    return tuple(item.change for item in planned)


def _plan(
    session: Session,
    direction: Direction,
    categories: Sequence[Category],
    purposes: Sequence[Purpose],
    patients: Sequence[bytes] | None,
) -> list[_Planned]:
    if not categories and not purposes:
        raise NothingToDo("expected categories or purposes; came none")
    planned = [
        _planned(session, relationship, direction, set(categories), set(purposes))
        for relationship in chosen(session, patients)
    ]
    planned = [item for item in planned if item.is_change]
    if not planned:
        raise NothingToDo("the deny policy is so already, for every pseudonym concerned")
    return planned


def _planned(
    session: Session,
    relationship: Relationship,
    direction: Direction,
    categories: set[Category],
    purposes: set[Purpose],
) -> _Planned:
    view = session.patient(relationship.patient)
    categories_before, purposes_before = set(view.denied_categories), set(view.denied_purposes)
    if direction is Direction.DENY:
        categories_after, purposes_after = categories_before | categories, purposes_before | purposes
    else:
        categories_after, purposes_after = categories_before - categories, purposes_before - purposes
    change = PolicyChange(
        patient=relationship.patient,
        provider_name=relationship.provider_name,
        categories_before=tuple(sorted(categories_before)),
        categories_after=tuple(sorted(categories_after)),
        purposes_before=tuple(sorted(purposes_before)),
        purposes_after=tuple(sorted(purposes_after)),
    )
    return _Planned(change, view.policy_nonce + 1)


def chosen(session: Session, patients: Sequence[bytes] | None) -> list[Relationship]:
    """The relationships of the given pseudonyms, or all that are on the ledger and not frozen.

    Raises:
        UnknownName: a pseudonym is none of this wallet's.
        NothingToDo: one is not registered or frozen, or there are none at all.
    """
    if patients is not None:
        found = [session.content.relationship(patient) for patient in dict.fromkeys(patients)]
        for relationship in found:
            require_registered(relationship)
    else:
        found = [entry for entry in session.registered() if entry.status is not RelationshipStatus.FROZEN]
    if not found:
        raise NothingToDo("there is no registered relationship: register with a provider first")
    return found


def preview_restriction(session: Session, record_id: bytes) -> RestrictionPreview:
    """Who reads a record by a consent for its category, and no longer could.

    Raises:
        UnknownName: this wallet has no such record.
        NothingToDo: it is restricted already.
    """
    relationship, record = own_record(session, record_id)
    if record.restricted:
        raise NothingToDo("the record is restricted already")
    directory = session.directory()
    view = session.consents(relationship.patient)
    live = [
        consent
        for consent in view.consents
        if state_of(consent, view.final.time).is_live and covers(consent, record)
    ]
    keeping = {consent.grantee for consent in live if consent.record_id is not None}
    losing = {consent.grantee for consent in live if consent.record_id is None} - keeping
    return RestrictionPreview(
        record=OwnRecord.of(record, relationship, directory),
        losing=tuple(sorted(directory.name_of(grantee) for grantee in losing)),
    )


def set_restriction(session: Session, record_id: bytes, restricted: bool) -> None:
    """Restricts a record to consents that name it, or lifts that.

    Raises:
        UnknownName: this wallet has no such record.
        NothingToDo: it is so already.
        TooFewNodes, NodesDisagree, NotFinalYet: it is in the journal; resume later.
    """
    relationship, record = own_record(session, record_id)
    if record.restricted == restricted:
        raise NothingToDo(f"the record is {'restricted' if restricted else 'not restricted'} already")
    message = Restriction(relationship.patient, record_id, restricted, record.status_nonce + 1)
    state_message(session, relationship.patient, message)


def own_record(session: Session, record_id: bytes) -> tuple[Relationship, RecordView]:
    """A record of one of this wallet's pseudonyms, as two nodes agree on it.

    Raises:
        UnknownName: there is none of this id.
    """
    for relationship in session.registered():
        for record in session.records(relationship.patient).records:
            if record.record_id == record_id:
                return relationship, record
    raise UnknownName(f"no record 0x{record_id.hex()} under the pseudonyms of this wallet")
