"""Checks of a pseudonym's state before something is signed for it."""

from wallet.content import Relationship, RelationshipStatus
from wallet.errors import NothingToDo, UnfinishedOperation, WalletBehind
from wallet.journal import RevocationEntry, RotationEntry
from wallet.session import Session
from wire.patients import PatientView


def require_current(session: Session, relationship: Relationship) -> PatientView:
    """The pseudonym's state, once the ledger's keyring is the one in this vault.

    Raises:
        WalletBehind: the ledger has a newer keyring, or another one.
        TooFewNodes, NodesDisagree: see ``wallet.agreement``.
    """
    view = session.patient(relationship.patient)
    keyring = relationship.secrets.public()
    if (view.epoch, view.keyring_digest) != (keyring.epoch, keyring.digest):
        raise WalletBehind(
            f"{relationship.provider_name}: the ledger has the keyring of epoch {view.epoch}, this wallet holds epoch "
            f"{keyring.epoch}: another copy of this wallet went on, or this one was restored from an old backup. "
            "Renew its keys to go on with this one"
        )
    return view


def require_registered(relationship: Relationship) -> None:
    """Refuses a pseudonym that is not on the ledger yet, or frozen.

    Raises:
        NothingToDo: it is one of these.
    """
    if relationship.status is RelationshipStatus.REQUESTED:
        raise NothingToDo(f"{relationship.provider_name} has not confirmed the registration yet")
    if relationship.status is RelationshipStatus.FROZEN:
        raise NothingToDo(
            f"the pseudonym with {relationship.provider_name} is frozen: everything is denied already"
        )


def require_no_rotation(session: Session, patient: bytes) -> None:
    """Refuses to touch a pseudonym whose keys are changing.

    Raises:
        UnfinishedOperation: a revocation or rotation of it is in the journal.
    """
    for entry in session.content.journal:
        if entry.patient == patient and isinstance(entry, RevocationEntry | RotationEntry):
            raise UnfinishedOperation(
                "an earlier revocation of this pseudonym has not ended: resume it first, then try again"
            )
