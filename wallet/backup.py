"""The vault's backup at nodes: sealed under keys of the recovery phrase, so that nodes learn nothing but a size."""

from crypto.errors import CryptoError
from crypto.recovery import BackupKeys
from crypto.vault import check_backup, seal_backup
from wallet import content as codec
from wallet.agreement import QUORUM, ask_all
from wallet.content import VaultContent
from wallet.errors import NodeError, NodeRefused, TooFewNodes, WalletBehind
from wallet.nodes import NodeClient
from wallet.session import Session

WANTED_COPIES = 3
"""Nodes that get each backup, if there are so many; two must acknowledge it."""
CONFLICT = 409


class BackupRefused(TooFewNodes):
    """Nodes answer, and fewer than two of them take the vault's backup: they have no room for it, say."""


def backup_keys(content: VaultContent) -> BackupKeys:
    """The keys that seal and sign this vault's backups."""
    access = content.backup
    return BackupKeys(access.locator, access.encryption_key, access.signing_seed)


def store_backup(session: Session) -> tuple[str, ...]:
    """Stores the vault as it is now, under the next version.

    The version is counted up in the vault before anything leaves it, so no version ever has two contents.

    Returns:
        Names of the nodes that acknowledged, two at least.

    Raises:
        TooFewNodes: fewer than two did; the vault is unchanged but for the version. BackupRefused, a kind of it, if
            a node answered, and refused.
        WalletBehind: a node shows a newer version: another copy of this wallet is in use.
    """
    content = session.content
    access = content.backup.model_copy(update={"version": content.backup.version + 1})
    content = content.replaced(backup=access)
    session.save(content)
    keys = backup_keys(content)
    sealed = seal_backup(codec.to_bytes(content), keys, access.version)
    waiting = session.nodes()
    stored: list[str] = []
    failures: list[str] = []
    refusals = 0
    wanted = WANTED_COPIES
    while waiting and len(stored) < QUORUM:
        asked, waiting = waiting[:wanted], waiting[wanted:]
        answers = ask_all(asked, lambda node: node.put_backup(keys, sealed))
        for client, answer in zip(asked, answers, strict=True):
            if isinstance(answer, NodeRefused):
                refusals += 1
                if answer.status == CONFLICT and _shows_later(client, keys, access.version):
                    raise WalletBehind(
                        f"{client.name} holds a newer backup than version {access.version}: another copy of this "
                        "wallet is in use. Use that one, or recover from the phrase"
                    )
            if isinstance(answer, NodeError):
                failures.append(str(answer))
            else:
                stored.append(client.name)
        wanted = QUORUM - len(stored)
    if len(stored) < QUORUM:
        kind = BackupRefused if refusals else TooFewNodes
        raise kind(
            f"the backup: expected {QUORUM} members to store it; {len(stored)} did ({'; '.join(failures)})"
        )
    session.progress("backup stored")
    return tuple(stored)


def _shows_later(client: NodeClient, keys: BackupKeys, version: int) -> bool:
    """Whether a node that says so really has a backup of ``version`` or later, signed by this vault's own key.

    The word alone of a node does not count: a grantee's, say, who would rather keep its keys in force.
    """
    try:
        shown = client.get_backup(keys)
        return shown is not None and check_backup(shown, keys.locator) >= version
    except (NodeError, CryptoError):
        return False
