"""Changing a pseudonym's keys: backed up first, then on the ledger, then published at nodes."""

import secrets
from collections.abc import Sequence

from crypto.keyring import KeyringSecrets
from ledger.messages import KeyringRotation, SignedMessage
from vocabulary import Category
from wallet.agreement import QUORUM, ask_all
from wallet.backup import store_backup
from wallet.bundles import hand_over, intersects
from wallet.content import Relationship
from wallet.directory import Directory
from wallet.errors import NodeError, TooFewNodes, WalletBehind, WalletError
from wallet.journal import DeliveryEntry, KeyringEntry, RotationEntry
from wallet.overview import state_of
from wallet.relaying import settle
from wallet.session import Session
from wire.patients import ConsentView, PatientView


def rotation_message(next_keyring: KeyringSecrets, nonce: int) -> KeyringRotation:
    """The message that puts the next keyring's digest on the ledger."""
    return KeyringRotation(next_keyring.patient, next_keyring.epoch, next_keyring.public().digest, nonce)


def next_keyring(held: KeyringSecrets, view: PatientView, categories: Sequence[Category]) -> KeyringSecrets:
    """The keyring to come after the ledger's: fresh keys for ``categories``.

    For all categories, if the ledger has another keyring than ``held``: carrying over a key that another copy of
    this wallet has replaced since would open new records to whom it shut out.
    """
    if (held.epoch, held.public().digest) == (view.epoch, view.keyring_digest):
        return held.rotate(categories)
    base = KeyringSecrets(held.chain_id, held.contract, held.patient, view.epoch, held.owner, held.versions)
    return base.rotate(Category)


def is_overtaken(keyring: KeyringSecrets, view: PatientView) -> bool:
    """Whether a keyring that was made to come next never can: the ledger took another one."""
    same = (keyring.epoch, keyring.public().digest) == (view.epoch, view.keyring_digest)
    return view.epoch >= keyring.epoch and not same


def is_in_force(session: Session, next_keyring: KeyringSecrets) -> bool:
    """Whether two nodes agree that the ledger has this keyring.

    Raises:
        WalletBehind: it has another keyring of this epoch, or a later one.
    """
    view = session.patient(next_keyring.patient)
    if view.epoch < next_keyring.epoch:
        return False
    if (view.epoch, view.keyring_digest) != (next_keyring.epoch, next_keyring.public().digest):
        raise WalletBehind(
            f"the ledger has another keyring of epoch {view.epoch} than this wallet made: another copy of this "
            "wallet went on. Use that one, or renew the keys in this one"
        )
    return True


def staying_consents(
    session: Session, patient: bytes, categories: Sequence[Category], leaving: bytes | None
) -> list[ConsentView]:
    """Live consents by category in ``categories``, but the one that is revoked."""
    view = session.consents(patient)
    return [
        consent
        for consent in view.consents
        if consent.consent_id != leaving
        and intersects(consent, categories)
        and state_of(consent, view.final.time).is_live
    ]


def hand_over_next(
    session: Session, consents: Sequence[ConsentView], next_keyring: KeyringSecrets, directory: Directory
) -> tuple[DeliveryEntry, ...]:
    """Gives those who stay the next keyring's secrets, before it is in force.

    Returns:
        What could not be delivered: no absent grantee holds a revocation up.
    """
    undelivered = []
    for consent in consents:
        try:
            hand_over(session, consent, next_keyring, directory)
        except WalletError as error:
            session.progress(f"{directory.name_of(consent.grantee)} gets the new secrets later: {error}")
            undelivered.append(DeliveryEntry(patient=consent.patient, consent_id=consent.consent_id))
    session.progress("new secrets delivered")
    return tuple(undelivered)


def with_keyring(relationship: Relationship, keyring: KeyringSecrets) -> Relationship:
    """A relationship with its next keyring."""
    return relationship.model_copy(update={"keyring": keyring.to_bytes()})


def publish_keyring(session: Session, entry: KeyringEntry) -> tuple[str, ...]:
    """Stores the public keyring at the provider's node and at others, two at least.

    Returns:
        Names of the nodes that have it.

    Raises:
        TooFewNodes: fewer than two took it; the entry stays in the journal.
    """
    relationship = session.content.relationship(entry.patient)
    document = relationship.secrets.public().to_bytes()
    key = session.request_key(entry.patient)
    waiting = session.nodes(entry.patient)
    stored: list[str] = []
    failures: list[str] = []
    while waiting and len(stored) < QUORUM:
        asked, waiting = waiting[:QUORUM], waiting[QUORUM:]
        answers = ask_all(asked, lambda node: node.put_keyring(key, document))
        for client, answer in zip(asked, answers, strict=True):
            if isinstance(answer, NodeError):
                failures.append(str(answer))
            else:
                stored.append(client.name)
    if len(stored) < QUORUM:
        raise TooFewNodes(f"the keyring: expected {QUORUM} nodes to store it; {'; '.join(failures)}")
    session.replace_entry(entry)
    session.progress("keyring published")
    return tuple(stored)


def renew_keys(session: Session, patient: bytes) -> Relationship:
    """Fresh keys for all categories, above whatever epoch the ledger has.

    For a wallet that was recovered from an old backup: from here on it holds the keys of every new record. Records
    that were sealed to keys of the missing epochs stay readable by the owner key, but cannot be granted.

    Raises:
        TooFewNodes, NodesDisagree, NotFinalYet: see ``wallet.relaying.settle``; resume later.
    """
    view = session.patient(patient)
    keyring = next_keyring(session.content.relationship(patient).secrets, view, tuple(Category))
    entry = RotationEntry(
        patient=patient, next_keyring=keyring.to_bytes(), rotation_nonce=secrets.randbits(64)
    )
    session.journal(entry)
    finish_rotation(session, entry, session.directory())
    return session.content.relationship(patient)


def finish_rotation(session: Session, entry: RotationEntry, directory: Directory) -> tuple[str, ...]:
    """Carries a journalled rotation to its end; returns the nodes that have the keyring.

    Raises:
        TooFewNodes, NodesDisagree, NotFinalYet, LedgerRefused: the entry stays in the journal.
        WalletBehind: another copy of this wallet rotated first; the entry is given up.
    """
    keyring = KeyringSecrets.from_bytes(entry.next_keyring)
    view = session.patient(entry.patient)
    if is_overtaken(keyring, view):
        session.replace_entry(entry)
        raise WalletBehind(
            f"the ledger took another keyring of epoch {view.epoch} meanwhile: another copy of this wallet is in use. "
            "Use that one, or recover from the phrase and renew the keys"
        )
    if not entry.backed_up:
        store_backup(session)
        backed_up = entry.model_copy(update={"backed_up": True})
        session.replace_entry(entry, backed_up)
        entry = backed_up
    consents = staying_consents(session, entry.patient, tuple(Category), None)
    undelivered = hand_over_next(session, consents, keyring, directory)
    messages: list[SignedMessage] = [rotation_message(keyring, entry.rotation_nonce)]
    settle(
        session, entry.patient, messages, lambda: is_in_force(session, keyring), "the rotation", copies=QUORUM
    )
    published = KeyringEntry(patient=entry.patient)
    relationship = with_keyring(session.content.relationship(entry.patient), keyring)
    content = session.content.with_relationship(relationship)
    session.replace_entry(entry, published, *undelivered, content=content)
    return publish_keyring(session, published)
