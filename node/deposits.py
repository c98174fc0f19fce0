"""The store of deposits: what this custodian holds of each record, keyed by (record id, header digest)."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, insert, select, update

from node.collaborators import Transactions
from node.errors import Conflict
from node.tables_custody import block_references, deposits


@dataclass(frozen=True, slots=True)
class Deposit:
    """One deposit. ``header`` are the header's exact bytes; ``deadline`` and ``received_at`` are POSIX seconds."""

    record_id: bytes
    header_digest: bytes
    patient: bytes
    author: bytes
    share_index: int
    header: bytes = field(repr=False)
    owner_wrap: bytes = field(repr=False)
    consent_wrap: bytes = field(repr=False)
    custody_wrap: bytes = field(repr=False)
    deadline: int
    author_signature: bytes = field(repr=False)
    received_at: int
    on_ledger: bool

    def same_content(self, other: "Deposit") -> bool:
        """Whether both hold the same of the same record, whatever their deadlines."""
        return all(getattr(self, name) == getattr(other, name) for name in _CONTENT)


_CONTENT = (
    "record_id",
    "header_digest",
    "author",
    "share_index",
    "header",
    "owner_wrap",
    "consent_wrap",
    "custody_wrap",
)


class DepositStore:
    """Deposits in the node's database. None is ever overwritten; a deadline may grow."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def find(self, record_id: bytes, header_digest: bytes) -> Deposit | None:
        """The deposit of this key, or None."""
        with self._database.read() as connection:
            return self._find(connection, record_id, header_digest)

    def find_many(self, keys: Iterable[tuple[bytes, bytes]]) -> dict[bytes, Deposit]:
        """The deposits of several (record id, header digest), by record id; those that are not here are left out."""
        wanted = dict(keys)
        with self._database.read() as connection:
            rows = connection.execute(select(deposits).where(deposits.c.record_id.in_(list(wanted))))
            found = [_deposit(row) for row in rows]
        return {each.record_id: each for each in found if wanted[each.record_id] == each.header_digest}

    def add(self, connection: Connection, deposit: Deposit) -> Deposit:
        """Adds it, or finds the same one; returns what is held afterwards.

        Raises:
            Conflict: another deposit has this key (``deposit-differs``).
        """
        held = self._find(connection, deposit.record_id, deposit.header_digest)
        if held is None:
            row = {name: getattr(deposit, name) for name in Deposit.__dataclass_fields__}
            connection.execute(insert(deposits).values(row))
            return deposit
        if not held.same_content(deposit):
            raise Conflict(
                f"expected the deposit of record 0x{deposit.record_id.hex()} that is already here; came another under "
                "the same header: a deposit is never overwritten",
                code="deposit-differs",
            )
        if deposit.deadline > held.deadline or deposit.on_ledger > held.on_ledger:
            connection.execute(
                update(deposits)
                .where(_key(held))
                .values(
                    deadline=max(deposit.deadline, held.deadline),
                    on_ledger=deposit.on_ledger or held.on_ledger,
                )
            )
        return held

    def not_on_ledger(self) -> list[Deposit]:
        """Every deposit whose record was not seen final yet."""
        with self._database.read() as connection:
            rows = connection.execute(select(deposits).where(deposits.c.on_ledger.is_(False)))
            return [_deposit(row) for row in rows]

    def mark_on_ledger(self, deposit: Deposit) -> None:
        """Its record is final under this header: it is never purged from now on."""
        with self._database.begin() as connection:
            connection.execute(update(deposits).where(_key(deposit)).values(on_ledger=True))

    def purge(self, deposit: Deposit) -> bool:
        """Removes an orphan and its hold on blocks, unless its deadline grew or it was marked meanwhile."""
        with self._database.begin() as connection:
            gone = connection.execute(
                delete(deposits).where(
                    _key(deposit), deposits.c.on_ledger.is_(False), deposits.c.deadline <= deposit.deadline
                )
            )
            if gone.rowcount:
                connection.execute(
                    delete(block_references).where(block_references.c.holder == deposit.header_digest)
                )
            return bool(gone.rowcount)

    def count(self) -> tuple[int, int]:
        """How many deposits are held, and how many of them have no record on the ledger."""
        with self._database.read() as connection:
            held = connection.scalar(select(func.count()).select_from(deposits)) or 0
            waiting = select(func.count()).select_from(deposits).where(deposits.c.on_ledger.is_(False))
            return held, connection.scalar(waiting) or 0

    def all(self) -> Iterator[Deposit]:
        """Every deposit, one page of them in memory at a time."""
        after = b""
        while True:
            page = (
                select(deposits)
                .where(deposits.c.record_id > after)
                .order_by(deposits.c.record_id, deposits.c.header_digest)
                .limit(200)
            )
            with self._database.read() as connection:
                found = [_deposit(row) for row in connection.execute(page)]
                if len(found) == 200:
                    # A record's deposits may straddle the page: take the last record's whole set now.
                    last = select(deposits).where(deposits.c.record_id == found[-1].record_id)
                    known = {(each.record_id, each.header_digest) for each in found}
                    rest = [_deposit(row) for row in connection.execute(last)]
                    found += [each for each in rest if (each.record_id, each.header_digest) not in known]
            yield from found
            if len(found) < 200:
                return
            after = found[-1].record_id

    def _find(self, connection: Connection, record_id: bytes, header_digest: bytes) -> Deposit | None:
        row = connection.execute(
            select(deposits).where(
                deposits.c.record_id == record_id, deposits.c.header_digest == header_digest
            )
        ).one_or_none()
        return None if row is None else _deposit(row)


def _key(deposit: Deposit) -> ColumnElement[bool]:
    return and_(
        deposits.c.record_id == deposit.record_id,
        deposits.c.header_digest == deposit.header_digest,
    )


def _deposit(row: Row[tuple[object, ...]]) -> Deposit:
    return Deposit(**dict(row._mapping))
