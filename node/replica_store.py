"""What the database says of replicas: what this node checked, what it lost, what it published and others lack."""

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, delete, exists, func, insert, or_, select, update

from node.collaborators import Transactions
from node.tables_custody import block_references, deposits
from node.tables_publish import publication_deposits, publication_records
from node.tables_replication import replica_checks, replica_losses

LOSS_SECONDS = 3600
"""A loss that was not told again for so long was healed, by a backup perhaps."""


class ReplicaState(StrEnum):
    """What this node holds of a record on the ledger."""

    FULL = "full"
    """It is a custodian of it, and holds header, wraps and every block."""
    BLOCKS_MISSING = "blocks-missing"
    """It is a custodian, and blocks of the ciphertext could not be had yet."""
    WRAPS_MISSING = "wraps-missing"
    """It is a custodian without its deposit: only the author can give that, while it still has it. Its ciphertext is
    not looked for meanwhile."""
    UNKNOWN = "unknown"
    """Not looked at yet, or the header could not be had, which names the custodians."""
    ELSEWHERE = "elsewhere"
    """It is none of its custodians."""


SETTLED = (ReplicaState.FULL, ReplicaState.ELSEWHERE)


class ReplicaStore:
    """Checks of replicas in the node's database."""

    def __init__(self, database: Transactions) -> None:
        self._database = database
        self.asked_again: Counter[bytes] = Counter()
        """How many deposits each custodian asked for once more since this process began, by its account."""

    def known(self) -> set[bytes]:
        """The ids of all records that have a row."""
        with self._database.read() as connection:
            return {bytes(found) for found in connection.scalars(select(replica_checks.c.record_id))}

    def add(self, record_ids: Sequence[bytes]) -> None:
        """New records on the ledger, to be checked."""
        rows = [
            {"record_id": record_id, "state": ReplicaState.UNKNOWN.value, "checked_at": 0}
            for record_id in record_ids
        ]
        with self._database.begin() as connection:
            connection.execute(insert(replica_checks), rows)

    def due(self, settled_before: int, troubled_before: int, limit: int) -> dict[bytes, ReplicaState]:
        """The records to check next and what was last found of them; the longest not looked at come first."""
        with self._database.read() as connection:
            order = (
                select(replica_checks.c.record_id, replica_checks.c.state)
                .where(_is_due(settled_before, troubled_before))
                .order_by(replica_checks.c.checked_at, replica_checks.c.record_id)
                .limit(limit)
            )
            return {bytes(row.record_id): ReplicaState(row.state) for row in connection.execute(order)}

    def count_due(self, settled_before: int, troubled_before: int) -> int:
        """How many records are to be checked."""
        due = select(func.count()).select_from(replica_checks).where(_is_due(settled_before, troubled_before))
        with self._database.read() as connection:
            return connection.scalar(due) or 0

    def note(self, states: Mapping[bytes, ReplicaState], now: int) -> None:
        """What was found of some records."""
        by_state: dict[ReplicaState, list[bytes]] = {}
        for record_id, state in states.items():
            by_state.setdefault(state, []).append(record_id)
        with self._database.begin() as connection:
            for state, record_ids in by_state.items():
                connection.execute(
                    update(replica_checks)
                    .where(replica_checks.c.record_id.in_(record_ids))
                    .values(state=state.value, checked_at=now)
                )

    def counts(self) -> dict[ReplicaState, int]:
        """How many records are in each state."""
        query = select(replica_checks.c.state, func.count()).group_by(replica_checks.c.state)
        with self._database.read() as connection:
            found = {ReplicaState(state): count for state, count in connection.execute(query)}
        return {state: found.get(state, 0) for state in ReplicaState}

    def held(self, header_digests: Mapping[bytes, bytes]) -> dict[bytes, tuple[str, ...]]:
        """The CIDs that the deposits of these records need here, by record id; none for those without a deposit.

        Args:
            header_digests: the header digest on the ledger, by record id.
        """
        with self._database.read() as connection:
            rows = connection.execute(
                select(deposits.c.record_id, deposits.c.header_digest).where(
                    deposits.c.record_id.in_(list(header_digests))
                )
            ).all()
            holders = {
                bytes(row.header_digest): bytes(row.record_id)
                for row in rows
                if header_digests[bytes(row.record_id)] == bytes(row.header_digest)
            }
            needed: dict[bytes, list[str]] = {record_id: [] for record_id in holders.values()}
            references = select(block_references.c.holder, block_references.c.cid)
            for row in connection.execute(references.where(block_references.c.holder.in_(list(holders)))):
                needed[holders[bytes(row.holder)]].append(row.cid)
        return {record_id: tuple(cids) for record_id, cids in needed.items()}

    def told_lost(self, custodian: bytes, record_ids: Sequence[bytes], now: int) -> set[bytes]:
        """A custodian lost its deposits of these own records: returns those that will be deposited again.

        The others are noted as lost there: their wraps were forgotten when every custodian had acknowledged.
        """
        deposit, record = publication_deposits.c, publication_records.c
        with self._database.begin() as connection:
            rows = connection.execute(
                select(deposit.record_id, record.wraps_held)
                .join(publication_records, record.record_id == deposit.record_id)
                .where(
                    deposit.custodian == custodian,
                    deposit.record_id.in_(list(record_ids)),
                    record.on_ledger.is_(True),
                )
            ).all()
            coming = {bytes(row.record_id) for row in rows if row.wraps_held}
            gone = {bytes(row.record_id) for row in rows} - coming
            connection.execute(
                update(publication_deposits)
                .where(deposit.custodian == custodian, deposit.record_id.in_(list(coming)))
                .values(acknowledged_at=None, receipt_signature=None)
            )
            told = and_(replica_losses.c.custodian == custodian, replica_losses.c.record_id.in_(list(gone)))
            old = replica_losses.c.told_at < now - LOSS_SECONDS
            connection.execute(delete(replica_losses).where(or_(told, old)))
            if gone:
                lost = [{"record_id": each, "custodian": custodian, "told_at": now} for each in sorted(gone)]
                connection.execute(insert(replica_losses), lost)
        self.asked_again[custodian] += len(coming)
        return coming

    def published(self, now: int) -> tuple[int, int]:
        """How many own records are on the ledger, and how many of them some custodian does not hold."""
        deposit, record = publication_deposits.c, publication_records.c
        waiting = exists().where(deposit.record_id == record.record_id, deposit.acknowledged_at.is_(None))
        lost = exists().where(
            replica_losses.c.record_id == record.record_id, replica_losses.c.told_at >= now - LOSS_SECONDS
        )
        total = select(func.count()).select_from(publication_records).where(record.on_ledger.is_(True))
        with self._database.read() as connection:
            return (
                connection.scalar(total) or 0,
                connection.scalar(total.where(or_(and_(record.wraps_held.is_(True), waiting), lost))) or 0,
            )


def _is_due(settled_before: int, troubled_before: int) -> ColumnElement[bool]:
    checks = replica_checks.c
    troubled = [state.value for state in ReplicaState if state not in SETTLED]
    return or_(
        and_(checks.state == ReplicaState.FULL.value, checks.checked_at < settled_before),
        and_(checks.state.in_(troubled), checks.checked_at < troubled_before),
    )
