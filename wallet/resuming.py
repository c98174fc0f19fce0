"""Carrying on with what a crash, a dead network or an absent grantee left unfinished."""

from dataclasses import dataclass

from wallet.bundles import deliver
from wallet.directory import Directory
from wallet.errors import LedgerRefused, WalletError
from wallet.granting import finish_grants
from wallet.journal import (
    DeliveryEntry,
    GrantEntry,
    JournalEntry,
    KeyringEntry,
    MessageEntry,
    RevocationEntry,
    RotationEntry,
)
from wallet.revoking import finish_revocation
from wallet.rotation import finish_rotation, publish_keyring
from wallet.session import Session
from wallet.statements import finish_message

_ORDER = (RevocationEntry, MessageEntry, RotationEntry, KeyringEntry, GrantEntry, DeliveryEntry)
"""What protects comes first; secrets are handed over last, with the keys that hold by then."""


@dataclass(frozen=True, slots=True)
class ResumeReport:
    """What a resume did, and what is still left with the reason."""

    done: tuple[str, ...]
    left: tuple[str, ...]


def describe(session: Session, entry: JournalEntry) -> str:
    """An unfinished operation in words."""
    provider = session.content.relationship(entry.patient).provider_name
    match entry:
        case GrantEntry() | DeliveryEntry() | RevocationEntry():
            consent = next(
                (item for item in session.content.consents if item.consent_id == entry.consent_id), None
            )
            grantee = "a member" if consent is None else consent.grantee_name
            verb = {
                "grant": "grant to {}",
                "delivery": "deliver secrets to {}",
                "revocation": "revoke the consent to {}",
            }
            return f"{verb[entry.kind].format(grantee)} (records of {provider})"
        case RotationEntry():
            return f"renew the keys with {provider}"
        case KeyringEntry():
            return f"publish the new keyring with {provider}"
        case MessageEntry():
            return f"{entry.message.get('type', 'message')} with {provider}"


def resume(session: Session) -> ResumeReport:
    """Finishes every journalled operation that can be finished now. Repeating it is harmless.

    Raises:
        TooFewNodes, NodesDisagree: the members cannot be agreed on; nothing was tried.
    """
    if not session.content.journal:
        return ResumeReport((), ())
    directory = session.directory()
    done: list[str] = []
    left: list[str] = []
    for kind in _ORDER:
        for entry in [item for item in session.content.journal if isinstance(item, kind)]:
            words = describe(session, entry)
            try:
                detail = _finish(session, entry, directory)
            except LedgerRefused as error:
                # What protects is never given up on the word of nodes: only a plain message of the deny policy is.
                if isinstance(entry, MessageEntry):
                    session.replace_entry(entry)
                left.append(f"{words}: {error}")
            except WalletError as error:
                left.append(f"{words}: {error}")
            else:
                (left if detail else done).append(f"{words}: {detail}" if detail else words)
    return ResumeReport(tuple(done), tuple(left))


def _finish(session: Session, entry: JournalEntry, directory: Directory) -> str:
    """Finishes one entry; returns what is left of it, in words."""
    match entry:
        case RevocationEntry():
            return finish_revocation(session, entry, directory).keyring_detail
        case MessageEntry():
            finish_message(session, entry)
        case RotationEntry():
            finish_rotation(session, entry, directory)
        case KeyringEntry():
            publish_keyring(session, entry)
        case GrantEntry():
            if entry in session.content.journal:
                (granted,) = finish_grants(session, [entry], directory)
                return granted.detail
        case DeliveryEntry():
            if entry in session.content.journal:
                deliver(session, entry, directory)
    return ""
