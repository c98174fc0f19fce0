"""Revoking: nobody who leaves can open what comes later, nobody who stays loses anything, and nothing is forgotten
when the power fails in between.

New secrets -> backup acknowledged by two nodes -> bundles to those who stay -> revoke and rotate in one relay, sent
to two nodes -> final when two report it -> keyring published. The journal entry carries it over a crash at any line.
"""

import secrets
from dataclasses import replace

from crypto.keyring import KeyringSecrets
from ledger.messages import NO_RECORD, Revocation, SignedMessage
from vocabulary import Category
from wallet.agreement import QUORUM
from wallet.backup import BackupRefused, store_backup
from wallet.content import KnownConsent, Relationship, RelationshipStatus
from wallet.directory import Directory
from wallet.errors import NothingToDo, TooFewNodes, UnknownName, WalletBehind, WalletError
from wallet.journal import DeliveryEntry, GrantEntry, KeyringEntry, RevocationEntry
from wallet.overview import ConsentState, ConsentSummary, find_summary
from wallet.previews import RevocationPreview, plan_revocation
from wallet.receipts import RevocationReceipt, receipt_in_any_case
from wallet.relaying import settle
from wallet.rotation import (
    hand_over_next,
    is_in_force,
    is_overtaken,
    next_keyring,
    publish_keyring,
    rotation_message,
    staying_consents,
    with_keyring,
)
from wallet.session import Session
from wallet.state_checks import require_no_rotation, require_registered
from wallet.terms import Terms
from wire.patients import AccessView, ConsentView


def preview_revocation(session: Session, consent_id: bytes) -> RevocationPreview:
    """What revoking a consent would change, and what was read under it already.

    Raises:
        UnknownName: this wallet has no such consent.
        NothingToDo: it is revoked already.
        TooFewNodes, NodesDisagree: see ``wallet.agreement``.
    """
    summary = find_summary(session, consent_id)
    _require_revocable(summary)
    relationship = session.content.relationship(summary.patient)
    view = session.consents(summary.patient)
    names = {member.address: member.name for member in session.directory().members}
    accesses: tuple[AccessView, ...] = ()
    detail = ""
    try:
        accesses = session.history(summary.patient).view.accesses
    except TooFewNodes as error:
        # Any member can make a history longer than a wallet takes; it must not stand between a person and revoking.
        detail = str(error)
    preview = plan_revocation(
        summary,
        _rotated(relationship, summary),
        view.consents,
        session.records(summary.patient).records,
        accesses,
        names,
        view.final.time,
    )
    return replace(preview, history_detail=detail)


def revoke(session: Session, consent_id: bytes) -> RevocationReceipt:
    """Revokes a consent, landed or not, and shuts its categories to its grantee for the future.

    Raises:
        UnknownName: this wallet has no such consent.
        NothingToDo: it is revoked already, or the pseudonym is frozen.
        TooFewNodes, NodesDisagree, NotFinalYet: once journalled, ``Wallet.resume`` carries on.
    """
    directory = session.directory()
    summary = find_summary(session, consent_id)
    _require_revocable(summary)
    relationship = session.content.relationship(summary.patient)
    require_registered(relationship)
    require_no_rotation(session, summary.patient)
    rotated = _rotated(relationship, summary)
    keyring = None
    if rotated:
        keyring = next_keyring(relationship.secrets, session.patient(summary.patient), rotated)
    consent = _known(session, consent_id, summary)
    entry = RevocationEntry(
        patient=summary.patient,
        consent_id=consent_id,
        next_keyring=None if keyring is None else keyring.to_bytes(),
        rotation_nonce=secrets.randbits(64),
    )
    # From here on the grant is not to be carried on, nor its secrets delivered, by any resume.
    given_up = (
        GrantEntry(patient=summary.patient, consent_id=consent_id),
        DeliveryEntry(patient=summary.patient, consent_id=consent_id),
    )
    content = session.content.with_consents(consent)
    kept = tuple(item for item in content.journal if item not in given_up)
    session.journal(entry, content=content.replaced(journal=kept))
    session.progress("revocation journalled")
    return finish_revocation(session, entry, directory)


def finish_revocation(session: Session, entry: RevocationEntry, directory: Directory) -> RevocationReceipt:
    """Carries a journalled revocation to its end; every step may have been done before.

    Raises:
        TooFewNodes, NodesDisagree, NotFinalYet, LedgerRefused: the entry stays in the journal.
    """
    patient, consent = entry.patient, session.content.consent(entry.consent_id)
    entry, keyring_detail = _prepared(session, entry)
    keyring = None if entry.next_keyring is None else KeyringSecrets.from_bytes(entry.next_keyring)
    undelivered: tuple[DeliveryEntry, ...] = ()
    staying: list[ConsentView] = []
    if keyring is not None:
        staying = staying_consents(session, patient, _fresh_categories(keyring), consent.consent_id)
        undelivered = hand_over_next(session, staying, keyring, directory)
    _settle_revocation(session, entry, consent, keyring)
    published = () if keyring is None else (KeyringEntry(patient=patient),)
    content = session.content
    if keyring is not None:
        content = content.with_relationship(with_keyring(content.relationship(patient), keyring))
    session.replace_entry(entry, *published, *undelivered, content=content)
    session.progress("revocation final")
    keyring_nodes: tuple[str, ...] = ()
    for step in published:
        try:
            keyring_nodes = publish_keyring(session, step)
        except WalletError as error:
            keyring_detail = str(error)
    late = {item.consent_id for item in undelivered}
    receipt = receipt_in_any_case(session, entry.consent_id, directory)
    return replace(
        receipt,
        epoch=None if keyring is None else keyring.epoch,
        rotated=() if keyring is None else _fresh_categories(keyring),
        staying=tuple(sorted({directory.name_of(item.grantee) for item in staying})),
        undelivered=tuple(
            sorted({directory.name_of(item.grantee) for item in staying if item.consent_id in late})
        ),
        keyring_nodes=keyring_nodes,
        keyring_detail=keyring_detail,
    )


def _prepared(session: Session, entry: RevocationEntry) -> tuple[RevocationEntry, str]:
    """The entry with new keys that two nodes have a backup of, or else without new keys, and why.

    Nothing about keys may keep a revocation from landing: it alone makes honest custodians release nothing more.
    """
    if entry.next_keyring is None:
        return entry, ""
    view = session.patient(entry.patient)
    keyring = KeyringSecrets.from_bytes(entry.next_keyring)
    if view.status == RelationshipStatus.FROZEN:
        return _without_keyring(session, entry), ""
    if is_overtaken(keyring, view):
        return _without_keyring(session, entry), (
            "the keys were not changed: another copy of this wallet changed them meanwhile"
        )
    if entry.backed_up:
        return entry, ""
    try:
        store_backup(session)
    except (WalletBehind, BackupRefused) as error:
        return _without_keyring(session, entry), f"the keys were not changed: {error}"
    backed_up = entry.model_copy(update={"backed_up": True})
    session.replace_entry(entry, backed_up)
    return backed_up, ""


def _without_keyring(session: Session, entry: RevocationEntry) -> RevocationEntry:
    changed = entry.model_copy(update={"next_keyring": None})
    session.replace_entry(entry, changed)
    return changed


def _settle_revocation(
    session: Session, entry: RevocationEntry, consent: KnownConsent, keyring: KeyringSecrets | None
) -> None:
    patient = entry.patient
    revocation = Revocation(patient, consent.grantee, consent.record_id or NO_RECORD, consent.nonce)

    def revoked() -> bool:
        consents = session.consents(patient).consents
        return any(item.consent_id == consent.consent_id and item.revoked for item in consents)

    def done() -> bool:
        return revoked() and (keyring is None or is_in_force(session, keyring))

    messages: list[SignedMessage] = [revocation]
    if keyring is not None:
        messages.append(rotation_message(keyring, entry.rotation_nonce))
    settle(session, patient, messages, done, "the revocation", copies=QUORUM)


def _fresh_categories(keyring: KeyringSecrets) -> tuple[Category, ...]:
    """The categories whose keys are new at this epoch."""
    return tuple(entry.category for entry in keyring.public().categories if entry.epoch_from == keyring.epoch)


def _rotated(relationship: Relationship, consent: ConsentSummary) -> tuple[Category, ...]:
    """Categories that need new keys: none for one record, nor where nothing is published any more."""
    if consent.record_id is not None or relationship.status is not RelationshipStatus.ACTIVE:
        return ()
    return consent.categories


def _require_revocable(consent: ConsentSummary) -> None:
    if consent.state is ConsentState.REVOKED:
        raise NothingToDo(f"the consent to {consent.grantee_name} is revoked already")


def _known(session: Session, consent_id: bytes, summary: ConsentSummary) -> KnownConsent:
    """The consent as this wallet keeps it; one that only the ledger knows is taken over from there."""
    try:
        return session.content.consent(consent_id)
    except UnknownName:
        view = next(
            item for item in session.consents(summary.patient).consents if item.consent_id == consent_id
        )
        return KnownConsent(
            patient=view.patient,
            consent_id=view.consent_id,
            grantee=view.grantee,
            grantee_name=summary.grantee_name,
            record_id=view.record_id,
            nonce=view.nonce,
            terms=Terms.on_ledger(view),
        )
