"""Wallets' encrypted backups, under locators that recovery phrases give: the node does not learn whose they are."""

import secrets

from sqlalchemy import Connection, delete, func, select

from crypto.recovery import backup_locator
from crypto.vault import check_backup
from node.database import Database
from node.errors import Conflict, InvalidRequest, NodeError, NotAllowed, NotFound
from node.tables import backups

KEPT_VERSIONS = 3
LATEST_VERSION = 2**63 - 1
"""The greatest number that databases hold."""


class QuotaReached(NodeError):
    """The room for backups is taken."""

    default_code, status, title = "backup-quota", 507, "No room is left"


class Backups:
    """The last few versions of each backup."""

    def __init__(self, database: Database, quota_bytes: int) -> None:
        """Keeps backups of at most ``quota_bytes`` bytes in all."""
        self._database = database
        self._quota_bytes = quota_bytes

    def store(self, signing_key: bytes, locator: bytes, sealed: bytes) -> None:
        """Keeps a backup (sealed bytes) under its locator (32 bytes), durable when it returns.

        Args:
            signing_key: the proven caller's Ed25519 key, 32 bytes.

        Raises:
            NotAllowed: the caller's key is not the locator's.
            InvalidRequest: the version is beyond what can be kept.
            crypto.CryptoError: the bytes are no backup of this locator.
            Conflict: the version is below the one here, or the same with other bytes.
            QuotaReached: there is no room, not even in place of the versions that this locator has here.
        """
        _require_owner(signing_key, locator)
        version = check_backup(sealed, locator)
        if version > LATEST_VERSION:
            raise InvalidRequest(f"expected a version of at most {LATEST_VERSION}; came {version}")
        with self._database.begin() as connection:
            of_locator = backups.c.locator == locator
            newest = connection.execute(
                select(backups).where(of_locator).order_by(backups.c.version.desc()).limit(1)
            ).one_or_none()
            if newest is not None and newest.version == version:
                if not secrets.compare_digest(newest.sealed, sealed):
                    raise Conflict(f"another backup of version {version} is here: take that one in first")
                return
            if newest is not None and newest.version > version:
                raise Conflict(
                    f"expected a version above {newest.version}; came {version}: this wallet is behind another "
                    "copy of itself",
                    code="backup-outdated",
                )
            self._make_room(connection, locator, len(sealed))
            connection.execute(
                backups.insert().values(
                    locator=locator, version=version, sealed=sealed, size_bytes=len(sealed)
                )
            )

    def _make_room(self, connection: Connection, locator: bytes, size_bytes: int) -> None:
        """Deletes the oldest versions of this locator, down to none where room is short.

        Anyone may store backups, so anyone may use the room up. What a locator has taken stays its own: its next
        version may always replace the former ones.
        """
        of_locator = backups.c.locator == locator
        size = backups.c.size_bytes
        held = connection.execute(
            select(backups.c.version, size).where(of_locator).order_by(backups.c.version)
        ).all()
        taken = int(connection.execute(select(func.coalesce(func.sum(size), 0))).scalar_one()) + size_bytes
        gone: list[int] = []
        for row in held:
            if len(held) - len(gone) < KEPT_VERSIONS and taken <= self._quota_bytes:
                break
            gone.append(row.version)
            taken -= row.size_bytes
        if taken > self._quota_bytes:
            raise QuotaReached("this node has no room for more backups: use another member's node")
        connection.execute(delete(backups).where(of_locator, backups.c.version.in_(gone)))

    def newest(self, signing_key: bytes, locator: bytes) -> bytes:
        """The newest backup under a locator.

        Raises:
            NotAllowed: the caller's key is not the locator's.
            NotFound: there is none.
        """
        _require_owner(signing_key, locator)
        statement = select(backups.c.sealed).where(backups.c.locator == locator)
        with self._database.read() as connection:
            sealed = connection.execute(
                statement.order_by(backups.c.version.desc()).limit(1)
            ).scalar_one_or_none()
        if sealed is None:
            raise NotFound("there is no backup of this recovery phrase here: ask another member's node")
        return bytes(sealed)


def _require_owner(signing_key: bytes, locator: bytes) -> None:
    if backup_locator(signing_key) != locator:
        raise NotAllowed("a backup is for the holder of its recovery phrase only", code="other-backup")
