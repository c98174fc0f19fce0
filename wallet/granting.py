"""Granting: the terms are agreed on, signed, put on the ledger, and the secrets handed to the grantee."""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger.messages import NO_RECORD, consent_id
from vocabulary import Category, category_mask
from wallet.backup import store_backup
from wallet.bundles import deliver
from wallet.content import KnownConsent, Relationship, RelationshipStatus
from wallet.directory import Directory
from wallet.errors import LedgerRefused, NothingToDo, UnknownName, WalletError
from wallet.journal import DeliveryEntry, GrantEntry, JournalEntry
from wallet.previews import GrantPreview, plan_grant
from wallet.registration import chain_now
from wallet.relaying import settle
from wallet.session import Session
from wallet.state_checks import require_current, require_no_rotation, require_registered
from wallet.terms import GrantWish, Terms, fresh_nonce
from wire.ledger import MemberView
from wire.patients import ConsentView, RecordView


@dataclass(frozen=True, slots=True)
class GrantedConsent:
    """What became of one consent."""

    consent_id: bytes
    patient: bytes
    provider_name: str
    grantee_name: str
    final: bool
    """Two nodes report it."""
    delivered: bool
    """The grantee's node acknowledged the secrets: it can read from now on."""
    detail: str
    """What is left to do, and why; empty when all is done. ``Wallet.resume`` does it."""


@dataclass(frozen=True, slots=True)
class GrantOutcome:
    """What became of a grant."""

    consents: tuple[GrantedConsent, ...]
    backup_detail: str
    """Why the backup does not have the new consents' labels yet; empty when it has."""


def preview_grant(session: Session, wish: GrantWish) -> GrantPreview:
    """What granting would do.

    Raises:
        UnknownName: a grantee, record or pseudonym that there is not.
        NothingToDo: no pseudonym can grant this.
        InvalidTerms: terms that nobody can mean.
        TooFewNodes, NodesDisagree: see ``wallet.agreement``.
    """
    directory = session.directory()
    grantees = _grantees(wish, directory)
    holders = _holders(session, wish)
    categories = wish.categories
    if wish.record_id is not None:
        ((_, records),) = holders
        categories = (_record(records, wish.record_id).category,)
    terms = Terms.of(wish, categories, chain_now(directory.final))
    names = {entry.patient: entry.provider_name for entry in session.content.relationships}
    return plan_grant(wish, terms, grantees, holders, session.content.consents, names)


def grant(session: Session, preview: GrantPreview) -> GrantOutcome:
    """Signs what was previewed: the same terms, from the same pseudonyms, to the same members.

    1. Two nodes agree on the members' keys and on each pseudonym's keyring. 2. The consents are in the journal, so
    they can be revoked whatever happens. 3. One relay a pseudonym. 4. Final when two nodes report it. 5. The
    secrets go to each grantee's node.

    Raises:
        WalletBehind, UnfinishedOperation, NothingToDo: nothing was signed.
        TooFewNodes, NodesDisagree: before step 2 nothing was signed; after it, what is left is in the outcome.
    """
    directory = session.directory()
    entries: list[GrantEntry] = []
    consents: list[KnownConsent] = []
    for patient in dict.fromkeys(planned.patient for planned in preview.grants):
        relationship = session.content.relationship(patient)
        require_registered(relationship)
        require_no_rotation(session, patient)
        require_current(session, relationship)
    for planned in preview.grants:
        member = directory.by_address(planned.grantee)
        if member is None or not member.active:
            raise NothingToDo(f"{planned.grantee_name} is no active member any more")
        consent = _fresh_consent(session, preview, planned.patient, member)
        consents.append(consent)
        entries.append(GrantEntry(patient=planned.patient, consent_id=consent.consent_id))
    session.journal(*entries, content=session.content.with_consents(*consents))
    session.progress("grant journalled")
    outcomes = {entry.consent_id: entry for entry in finish_grants(session, entries, directory)}
    backup_detail = ""
    try:
        store_backup(session)
    except WalletError as error:
        backup_detail = str(error)
    return GrantOutcome(tuple(outcomes[consent.consent_id] for consent in consents), backup_detail)


def finish_grants(
    session: Session, entries: Sequence[GrantEntry], directory: Directory
) -> list[GrantedConsent]:
    """Carries journalled grants to their end, one relay a pseudonym; a failure of one does not stop the others."""
    finished = []
    for patient in dict.fromkeys(entry.patient for entry in entries):
        own = [entry for entry in entries if entry.patient == patient]
        detail = ""
        try:
            _settle_grants(session, own, directory)
        except LedgerRefused as error:
            detail = f"given up: {error}"
            refused = _not_landed(session, own)
            session.save(session.content.replaced(journal=_without(session.content.journal, refused)))
        except WalletError as error:
            detail = str(error)
        finished += [_hand_over(session, entry, directory, detail) for entry in own]
    return finished


def _settle_grants(session: Session, entries: Sequence[GrantEntry], directory: Directory) -> None:
    """Puts grants of one pseudonym on the ledger; those that are final become deliveries in the journal.

    Raises:
        LedgerRefused, NotFinalYet, TooFewNodes, NodesDisagree: some or all are not final.
    """
    patient = entries[0].patient
    now_seconds = chain_now(directory.final)
    consents = [session.content.consent(entry.consent_id) for entry in entries]
    messages = [
        consent.terms.grant(patient, consent.grantee, consent.record_id, consent.nonce, now_seconds)
        for consent in consents
    ]
    try:
        settle(session, patient, messages, lambda: not _not_landed(session, entries), "the grant")
    except LedgerRefused:  # one of several may be refused, and the others be final
        _to_deliveries(session, entries, _not_landed(session, entries))
        raise
    _to_deliveries(session, entries, [])


def _not_landed(session: Session, entries: Sequence[GrantEntry]) -> list[GrantEntry]:
    """Those of one pseudonym's grants that two nodes do not report as they were signed."""
    on_ledger = {item.consent_id: item for item in session.consents(entries[0].patient).consents}
    return [
        entry
        for entry in entries
        if entry.consent_id not in on_ledger
        or not (
            on_ledger[entry.consent_id].revoked
            or _as_signed(on_ledger[entry.consent_id], session.content.consent(entry.consent_id))
        )
    ]


def _to_deliveries(session: Session, entries: Sequence[GrantEntry], missing: Sequence[GrantEntry]) -> None:
    final = [entry for entry in entries if entry not in missing]
    deliveries = [DeliveryEntry(patient=entry.patient, consent_id=entry.consent_id) for entry in final]
    kept = _without(session.content.journal, final)
    session.save(session.content.replaced(journal=(*kept, *deliveries)))
    session.progress("grant final")


def _without(journal: Sequence[JournalEntry], left_out: Sequence[GrantEntry]) -> tuple[JournalEntry, ...]:
    return tuple(entry for entry in journal if entry not in left_out)


def _hand_over(session: Session, entry: GrantEntry, directory: Directory, detail: str) -> GrantedConsent:
    """Delivers the secrets of a grant that became final; else says why it did not."""
    delivery = DeliveryEntry(patient=entry.patient, consent_id=entry.consent_id)
    if delivery not in session.content.journal:
        return _granted(session, entry.consent_id, False, False, detail)
    try:
        deliver(session, delivery, directory)
    except WalletError as error:
        return _granted(session, entry.consent_id, True, False, str(error))
    return _granted(session, entry.consent_id, True, True, "")


def _as_signed(on_ledger: ConsentView, consent: KnownConsent) -> bool:
    return Terms.on_ledger(on_ledger) == consent.terms and on_ledger.grantee == consent.grantee


def _fresh_consent(
    session: Session, preview: GrantPreview, patient: bytes, member: MemberView
) -> KnownConsent:
    record_id, nonce = preview.wish.record_id, fresh_nonce()
    return KnownConsent(
        patient=patient,
        consent_id=consent_id(session.content.scope, patient, member.address, record_id or NO_RECORD, nonce),
        grantee=member.address,
        grantee_name=member.name,
        record_id=record_id,
        nonce=nonce,
        terms=preview.terms,
        label=preview.wish.label,
        introduction=preview.wish.introduction,
    )


def _granted(
    session: Session, consent_id_: bytes, final: bool, delivered: bool, detail: str
) -> GrantedConsent:
    consent = session.content.consent(consent_id_)
    relationship = session.content.relationship(consent.patient)
    return GrantedConsent(
        consent_id=consent.consent_id,
        patient=consent.patient,
        provider_name=relationship.provider_name,
        grantee_name=consent.grantee_name,
        final=final,
        delivered=delivered,
        detail=detail,
    )


def _grantees(wish: GrantWish, directory: Directory) -> list[MemberView]:
    grantees = {member.address: member for member in (directory.find(name) for name in wish.grantees)}
    for member in grantees.values():
        if not member.active:
            raise UnknownName(f"{member.name} is suspended")
    return list(grantees.values())


def _holders(session: Session, wish: GrantWish) -> list[tuple[Relationship, tuple[RecordView, ...]]]:
    """The pseudonyms to grant from: those that were chosen, else those that hold such records, else all."""
    if wish.patients is not None:
        candidates = [session.content.relationship(patient) for patient in wish.patients]
        for relationship in candidates:
            require_registered(relationship)
    else:
        closed = (RelationshipStatus.REQUESTED, RelationshipStatus.FROZEN)
        candidates = [entry for entry in session.content.relationships if entry.status not in closed]
    if not candidates:
        raise NothingToDo("there is no registered relationship to grant from: register with a provider first")
    with_records = [(entry, session.records(entry.patient).records) for entry in candidates]
    if wish.record_id is not None:
        for entry, records in with_records:
            if any(record.record_id == wish.record_id for record in records):
                return [(entry, records)]
        raise UnknownName(f"no record 0x{wish.record_id.hex()} under the pseudonyms of this wallet")
    if wish.patients is not None:
        return with_records
    mask = category_mask(wish.categories)
    holding = [
        (entry, records)
        for entry, records in with_records
        if any(Category(record.category).bit & mask and not record.retracted for record in records)
    ]
    return holding or with_records


def _record(records: Sequence[RecordView], record_id: bytes) -> RecordView:
    return next(record for record in records if record.record_id == record_id)
