"""Registration: a new pseudonym for each provider. The ledger cannot join them; the wallet does."""

import secrets
import time
from dataclasses import dataclass

from crypto.keyring import KeyringSecrets
from ledger.messages import Registration
from vocabulary import Category, Role
from wallet.backup import store_backup
from wallet.content import Relationship, RelationshipStatus
from wallet.errors import NodeAnswerInvalid, NodeError, NothingToDo, TooFewNodes
from wallet.pseudonyms import pseudonym_key
from wallet.session import Session
from wallet.terms import DEADLINE_SECONDS
from wire.ledger import BlockReference, MemberView
from wire.patients import RegistrationRequest


@dataclass(frozen=True, slots=True)
class RegistrationTicket:
    """What the patient shows at the provider's desk, with something that proves who they are."""

    patient: bytes
    provider_name: str
    code: str
    expires_at: int
    """Seconds since 1970."""


def request_registration(session: Session, provider: str) -> RegistrationTicket:
    """Asks a provider to register a new pseudonym. Asking again before it is confirmed takes the same pseudonym.

    The keys are in the vault, and in a backup at two nodes, before the provider hears of them.

    Args:
        provider: a member's name or address.

    Raises:
        UnknownName: no active provider of this name.
        NothingToDo: there is an active relationship with it.
        TooFewNodes, NodesDisagree, NodeError: nothing was asked for yet; ask again.
    """
    directory = session.directory()
    member = directory.find_with_role(provider, Role.PROVIDER)
    for entry in session.content.relationships:
        if entry.provider == member.address and entry.status is RelationshipStatus.ACTIVE:
            raise NothingToDo(f"there is an active relationship with {member.name} already")
    relationship = _requested(session, member)
    store_backup(session)
    registration = Registration(
        patient=relationship.patient,
        provider=member.address,
        keyring_digest=relationship.secrets.public().digest,
        nonce=secrets.randbits(64),
        deadline=chain_now(directory.final) + DEADLINE_SECONDS,
    )
    request = RegistrationRequest(
        registration=session.signed(relationship.patient, registration),
        keyring=relationship.secrets.public().to_bytes(),
    )
    key = session.request_key(relationship.patient)
    pending = session.node_of(member).request_registration(key, request)
    session.progress("registration requested")
    return RegistrationTicket(relationship.patient, member.name, pending.code[:32], pending.expires_at)


def complete_registrations(session: Session) -> tuple[Relationship, ...]:
    """Looks which requested registrations are on the ledger by now; returns those that became active.

    Raises:
        NodeAnswerInvalid: the ledger has another provider or keyring for the pseudonym than was asked for.
        TooFewNodes, NodesDisagree: see ``wallet.agreement``.
    """
    completed = []
    for relationship in session.content.relationships:
        if relationship.status is not RelationshipStatus.REQUESTED or not _is_known(session, relationship):
            continue
        view = session.patient(relationship.patient)
        same_keyring = view.epoch > 1 or view.keyring_digest == relationship.secrets.public().digest
        if view.provider != relationship.provider or not same_keyring:
            raise NodeAnswerInvalid(
                relationship.provider_name,
                f"expected the pseudonym under provider 0x{relationship.provider.hex()} with the keyring of this "
                "wallet; the ledger has another",
            )
        active = relationship.model_copy(update={"status": RelationshipStatus(view.status)})
        session.save(session.content.with_relationship(active))
        session.progress("registration final")
        completed.append(active)
    return tuple(completed)


def chain_now(final: BlockReference) -> int:
    """The time, POSIX seconds, at which a message signed now may land: chains stand still while nothing happens."""
    return max(final.time, int(time.time()))


def _requested(session: Session, member: MemberView) -> Relationship:
    content = session.content
    for entry in content.relationships:
        if entry.provider == member.address and entry.status is RelationshipStatus.REQUESTED:
            return entry
    index = max((entry.index for entry in content.relationships), default=-1) + 1
    patient = pseudonym_key(content.seed, index).address
    keyring = KeyringSecrets.generate(content.chain_id, content.contract, patient, Category)
    relationship = Relationship(
        index=index,
        patient=patient,
        provider=member.address,
        provider_name=member.name,
        status=RelationshipStatus.REQUESTED,
        keyring=keyring.to_bytes(),
    )
    session.save(content.with_relationship(relationship))
    return relationship


def _is_known(session: Session, relationship: Relationship) -> bool:
    """Whether some node knows the pseudonym by now; the provider's is asked first."""
    key = session.request_key(relationship.patient)
    failures = []
    for client in session.nodes(relationship.patient):
        try:
            return client.patient(key) is not None
        except NodeError as error:
            failures.append(str(error))
    raise TooFewNodes(f"no node says whether the registration is final: {'; '.join(failures)}")
