"""Recovery: the newest backup that any node has, compared with the ledger; what is missing is named."""

from collections.abc import Sequence
from dataclasses import dataclass

from crypto import CryptoError
from crypto.keyring import KeyringSecrets
from crypto.recovery import BackupKeys
from crypto.vault import Backup, open_backup
from wallet import content as codec
from wallet.agreement import QUORUM, ask_all
from wallet.content import KnownConsent, KnownNode, Relationship, RelationshipStatus, VaultContent
from wallet.errors import NodeError, RecoveryError, TooFewNodes, VaultError
from wallet.journal import RevocationEntry, RotationEntry
from wallet.nodes import NodeClient
from wallet.pin import Pin
from wallet.pseudonyms import pseudonym_key
from wallet.session import Session
from wallet.terms import Terms
from wire.signing import RequestKey

LOOK_AHEAD = 5
"""How many pseudonyms beyond the backup's last one are looked for on the ledger."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What came back, and what did not."""

    backup_version: int
    versions: tuple[tuple[str, int | None], ...]
    """Each node that answered, with the version that it holds; None when it holds none."""
    relationships: tuple[Relationship, ...]
    consents_rebuilt: int
    """Consents that the backup did not know and the ledger has; their labels are lost."""
    missing: tuple[str, ...]
    """Sentences that name what the ledger has and the backup has not."""
    needs_new_keys: tuple[bytes, ...]
    """Pseudonyms whose keys on the ledger are not in this wallet: renew them, then grant anew."""


@dataclass(frozen=True, slots=True)
class FoundBackup:
    """The newest backup, and what each node held."""

    content: VaultContent
    version: int
    versions: tuple[tuple[str, int | None], ...]


def fetch_newest_backup(keys: BackupKeys, clients: Sequence[NodeClient], pin: Pin) -> FoundBackup:
    """The newest backup that opens, of all nodes'.

    Raises:
        TooFewNodes: fewer than two members' nodes answered: one alone could hold an old one out.
        RecoveryError: no node has one that opens, or it is of another ledger.
    """
    versions: list[tuple[str, int | None]] = []
    failures: list[str] = []
    best: Backup | None = None
    for client, answer in zip(clients, ask_all(clients, lambda node: node.get_backup(keys)), strict=True):
        if isinstance(answer, NodeError):
            failures.append(str(answer))
            continue
        if answer is None:
            versions.append((client.name, None))
            continue
        try:
            backup = open_backup(answer, keys)
        except CryptoError as error:
            failures.append(f"{client.name}: {error}")
            continue
        versions.append((client.name, backup.version))
        if best is None or backup.version > best.version:
            best = backup
    reasons = "; ".join(failures)
    if len(versions) < QUORUM:
        raise TooFewNodes(
            f"expected {QUORUM} members' nodes to answer for the backup; {len(versions)} did ({reasons})"
        )
    if best is None:
        raise RecoveryError(
            "no node holds a backup of this phrase: every word may be right and the phrase another wallet's, or this "
            f"is another network. Asked: {', '.join(name for name, _ in versions)}. {reasons}"
        )
    try:
        content = codec.from_bytes(best.content)
    except VaultError as error:
        raise RecoveryError(f"the backup of version {best.version} opens, and then: {error}") from error
    if content.pin != pin:
        raise RecoveryError("the backup is of a wallet on another ledger than these nodes follow")
    return FoundBackup(content, best.version, tuple(versions))


def restored_content(found: FoundBackup, keys: BackupKeys, clients: Sequence[NodeClient]) -> VaultContent:
    """The content to put into the new vault: the backup's, with today's nodes."""
    access = codec.BackupAccess(
        locator=keys.locator,
        encryption_key=keys.encryption_key,
        signing_seed=keys.signing_seed,
        version=found.version,
    )
    nodes = tuple(KnownNode(url=node.url, member=node.member, name=node.name) for node in clients)
    return found.content.replaced(nodes=nodes, backup=access)


def compare_with_ledger(session: Session, found: FoundBackup) -> Recovery:
    """Compares what was restored with the ledger, takes over what can be rebuilt, and names what cannot.

    Raises:
        TooFewNodes, NodesDisagree: see ``wallet.agreement``; the vault is restored, compare again.
    """
    missing: list[str] = []
    stale: list[bytes] = []
    _find_unknown_pseudonyms(session, missing, stale)
    rebuilt = 0
    for relationship in session.content.relationships:
        if relationship.patient not in stale:
            _compare_keyring(session, relationship, missing, stale)
        if session.content.relationship(relationship.patient).status is not RelationshipStatus.REQUESTED:
            rebuilt += _rebuild_consents(session, relationship.patient)
    return Recovery(
        backup_version=found.version,
        versions=found.versions,
        relationships=session.content.relationships,
        consents_rebuilt=rebuilt,
        missing=tuple(missing),
        needs_new_keys=tuple(stale),
    )


def _compare_keyring(
    session: Session, relationship: Relationship, missing: list[str], stale: list[bytes]
) -> None:
    if not _known_somewhere(session, session.request_key(relationship.patient)):
        return
    view = session.patient(relationship.patient)
    status = RelationshipStatus(view.status)
    if status is not relationship.status:
        changed = relationship.model_copy(update={"status": status})
        session.save(session.content.with_relationship(changed))
    held = [relationship.secrets, *_journalled_keyrings(session, relationship.patient)]
    if any((keyring.epoch, keyring.public().digest) == (view.epoch, view.keyring_digest) for keyring in held):
        return
    newest = max(keyring.epoch for keyring in held)
    epochs = f"epochs {newest + 1} to {view.epoch}" if view.epoch > newest + 1 else f"epoch {view.epoch}"
    missing.append(
        f"{relationship.provider_name}: the ledger has keyring {epochs}, the backup ends with epoch {newest}. Records "
        "published since then stay readable to you, but cannot be granted; renew the keys of this pseudonym"
    )
    stale.append(relationship.patient)


def _journalled_keyrings(session: Session, patient: bytes) -> list[KeyringSecrets]:
    return [
        KeyringSecrets.from_bytes(entry.next_keyring)
        for entry in session.content.journal
        if isinstance(entry, RevocationEntry | RotationEntry)
        and entry.patient == patient
        and entry.next_keyring is not None
    ]


def _find_unknown_pseudonyms(session: Session, missing: list[str], stale: list[bytes]) -> None:
    """Pseudonyms that the seed gives and the ledger knows, though the backup does not: it was an old one."""
    directory = session.directory()
    first = max((entry.index for entry in session.content.relationships), default=-1) + 1
    index = first
    last_known = first - 1
    while index <= last_known + LOOK_AHEAD:
        account = pseudonym_key(session.content.seed, index)
        if _known_somewhere(session, RequestKey.of_patient(account)):
            last_known = index
            relationship = _with_lost_keys(session, index, account.address)
            view = session.patient(account.address)
            named = relationship.model_copy(
                update={
                    "provider": view.provider,
                    "provider_name": directory.name_of(view.provider),
                    "status": RelationshipStatus(view.status),
                }
            )
            session.save(session.content.with_relationship(named))
            missing.append(
                f"{named.provider_name}: this pseudonym was registered after the backup; its keys are lost. Its "
                "records cannot be opened by this wallet. You can still revoke, deny and freeze; renew its keys, and "
                "ask the provider to publish again"
            )
            stale.append(account.address)
        index += 1


def _with_lost_keys(session: Session, index: int, patient: bytes) -> Relationship:
    content = session.content
    keyring = KeyringSecrets.generate(content.chain_id, content.contract, patient, ())
    relationship = Relationship(
        index=index,
        patient=patient,
        provider=bytes(20),
        provider_name="",
        status=RelationshipStatus.REQUESTED,
        keyring=keyring.to_bytes(),
    )
    session.save(content.with_relationship(relationship))
    return relationship


def _known_somewhere(session: Session, key: RequestKey) -> bool:
    """Whether any of two members' nodes knows a pseudonym."""
    waiting = session.nodes()
    answered = 0
    failures: list[str] = []
    while waiting and answered < QUORUM:
        asked, waiting = waiting[: QUORUM - answered], waiting[QUORUM - answered :]
        for answer in ask_all(asked, lambda node: node.patient(key)):
            if isinstance(answer, NodeError):
                failures.append(str(answer))
            elif answer is not None:
                return True
            else:
                answered += 1
    if answered < QUORUM:
        raise TooFewNodes(f"expected {QUORUM} members' nodes to answer; {'; '.join(failures)}")
    return False


def _rebuild_consents(session: Session, patient: bytes) -> int:
    known = {entry.consent_id for entry in session.content.consents}
    directory = session.directory()
    rebuilt = [
        KnownConsent(
            patient=patient,
            consent_id=view.consent_id,
            grantee=view.grantee,
            grantee_name=directory.name_of(view.grantee),
            record_id=view.record_id,
            nonce=view.nonce,
            terms=Terms.on_ledger(view),
        )
        for view in session.consents(patient).consents
        if view.consent_id not in known and view.categories
    ]
    if rebuilt:
        session.save(session.content.with_consents(*rebuilt))
    return len(rebuilt)
