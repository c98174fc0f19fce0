"""Signed messages without secrets (deny policy, restriction, end, freeze): journalled, sent, seen by two nodes."""

from ledger.messages import (
    DenyPolicy,
    Freeze,
    RelationshipEnd,
    Restriction,
    SignedMessage,
    signed_from_json,
    to_json,
)
from wallet.agreement import QUORUM
from wallet.content import RelationshipStatus
from wallet.errors import LedgerRefused, WalletError
from wallet.journal import MessageEntry
from wallet.relaying import settle
from wallet.session import Session

_WORDS: dict[type[SignedMessage], str] = {
    DenyPolicy: "the deny policy",
    Restriction: "the restriction",
    RelationshipEnd: "the end of the relationship",
    Freeze: "the freeze",
}


def state_message(session: Session, patient: bytes, message: SignedMessage) -> None:
    """Journals a message of a pseudonym and carries it to its end.

    Raises:
        LedgerRefused: the contract does not take it; it is out of the journal.
        TooFewNodes, NodesDisagree, NotFinalYet: it stays in the journal; resume later.
    """
    entry = MessageEntry(patient=patient, message=to_json(message))
    session.journal(entry)
    session.progress("message journalled")
    try:
        finish_message(session, entry)
    except LedgerRefused:
        session.replace_entry(entry)
        raise


def finish_message(session: Session, entry: MessageEntry) -> None:
    """Carries a journalled message to its end; it may be on the ledger already."""
    message = signed_from_json(entry.message)
    settle(
        session,
        entry.patient,
        [message],
        lambda: _is_in_force(session, entry.patient, message),
        _WORDS[type(message)],
        copies=QUORUM,
    )
    content = session.content
    view = session.patient(entry.patient)
    relationship = content.relationship(entry.patient)
    status = RelationshipStatus(view.status)
    if status is not relationship.status:
        content = content.with_relationship(relationship.model_copy(update={"status": status}))
    session.replace_entry(entry, content=content)


def _is_in_force(session: Session, patient: bytes, message: SignedMessage) -> bool:
    """Whether two nodes report the message's effect, or that of a later one of its kind."""
    match message:
        case DenyPolicy():
            return session.patient(patient).policy_nonce >= message.nonce
        case Restriction():
            records = session.records(patient).records
            return any(
                record.record_id == message.record_id and record.status_nonce >= message.nonce
                for record in records
            )
        case RelationshipEnd():
            return session.patient(patient).status in (RelationshipStatus.ENDED, RelationshipStatus.FROZEN)
        case Freeze():
            return session.patient(patient).status == RelationshipStatus.FROZEN
    raise WalletError(f"expected a message without secrets in the journal; came a {type(message).__name__}")
