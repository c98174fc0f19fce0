"""Ending a relationship, and freezing a pseudonym whose key was stolen."""

import secrets
from collections.abc import Sequence

from ledger.messages import Freeze, RelationshipEnd
from wallet.content import Relationship, RelationshipStatus
from wallet.errors import NothingToDo
from wallet.overview import state_of
from wallet.policy import chosen
from wallet.previews import ClosingPreview, ClosingPseudonym
from wallet.session import Session
from wallet.state_checks import require_registered
from wallet.statements import state_message


def preview_closing(session: Session, patients: Sequence[bytes] | None) -> ClosingPreview:
    """What an end or a freeze of pseudonyms (None: all) concerns.

    Raises:
        NothingToDo: a pseudonym is not registered, or frozen already.
        TooFewNodes, NodesDisagree: see ``wallet.agreement``.
    """
    pseudonyms = []
    for relationship in chosen(session, patients):
        consents = session.consents(relationship.patient)
        pseudonyms.append(
            ClosingPseudonym(
                patient=relationship.patient,
                provider_name=relationship.provider_name,
                records=len(session.records(relationship.patient).records),
                live_consents=sum(state_of(item, consents.final.time).is_live for item in consents.consents),
            )
        )
    return ClosingPreview(tuple(pseudonyms))


def end_relationship(session: Session, patient: bytes) -> Relationship:
    """Ends a relationship: its provider publishes no more. What is published stays, and stays readable as consented.

    Raises:
        NothingToDo: it has ended already, or never began.
        TooFewNodes, NodesDisagree, NotFinalYet: it is in the journal; resume later.
    """
    relationship = session.content.relationship(patient)
    require_registered(relationship)
    if relationship.status is RelationshipStatus.ENDED:
        raise NothingToDo(f"the relationship with {relationship.provider_name} has ended already")
    state_message(session, patient, RelationshipEnd(patient, relationship.provider, secrets.randbits(64)))
    return session.content.relationship(patient)


def freeze(session: Session, patients: Sequence[bytes] | None) -> tuple[Relationship, ...]:
    """Freezes pseudonyms (None: all), for good: nobody reads anything under them any more.

    For a stolen key. The patient registers anew, with a new wallet if the whole vault was stolen.

    Raises:
        NothingToDo: a pseudonym is frozen already, or there is none.
        TooFewNodes, NodesDisagree, NotFinalYet: what was signed is in the journal; resume later.
    """
    frozen = []
    for relationship in chosen(session, patients):
        state_message(session, relationship.patient, Freeze(relationship.patient, secrets.randbits(64)))
        frozen.append(session.content.relationship(relationship.patient))
    return tuple(frozen)
