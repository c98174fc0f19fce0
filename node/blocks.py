"""Ciphertext blocks of this node: who may put and get them, what needs them, and when they go.

Every block that arrives has a row in ``block_arrivals``; a deposit or a publication that needs it has one in
``block_references``. A block with no reference is swept when its last arrival is old. One lock makes deciding to
delete a single step against whoever refers to a block at that moment (one process a database). The store, which may be
slow, is never asked under it: what is being deleted is known meanwhile, and so is who is looking for blocks.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, Select, delete, func, insert, select, update

from node.collaborators import SYSTEM_CLOCK, Clock, Ledger, Transactions
from node.errors import Conflict, InvalidRequest, NodeError, NotAllowed, NotFound, TooMany
from node.tables_custody import block_arrivals, block_references, deposits
from storage import BlockCorruptError, BlockNotFoundError, BlockStore, Cid, CidError, Codec, missing, put_many

UNREFERENCED_SECONDS = 4 * 3600
"""How long a block may wait for the deposit that needs it: longer than the largest file's publication may take."""
UNREFERENCED_BYTES_PER_MEMBER = 8 * 1024**3
"""How many bytes of blocks that nothing needs yet one member may have here: the blocks of large files come before
their deposit. The disk's own reserve holds beside it."""
RECOUNT_SECONDS = 10.0


class StoreIsFull(NodeError):
    """This node takes no more blocks."""

    default_code, status, title = "store-full", 507, "No room left"


class BlockService:
    """Puts, gets, refers to and sweeps the blocks of ``store``."""

    def __init__(
        self,
        store: BlockStore,
        database: Transactions,
        ledger: Ledger,
        *,
        clock: Clock = SYSTEM_CLOCK,
        reserve_bytes: int = 0,
        free_bytes: Callable[[], int] | None = None,
    ) -> None:
        """Refuses what would leave less than ``reserve_bytes`` of what ``free_bytes`` tells (None: no such limit)."""
        self.store = store
        self._database = database
        self._ledger = ledger
        self._clock = clock
        self._reserve_bytes = reserve_bytes
        self._free_bytes = free_bytes
        self._lock = threading.Condition(threading.Lock())
        self._deleting: set[Cid] = set()
        self._looking: dict[int, set[Cid]] = {}
        """Of each look for blocks that is under way: what was deleted since it began."""
        self._waiting: dict[bytes, tuple[float, int]] = {}

    def accept(self, uploader: bytes, name: str, block: bytes) -> Cid:
        """Stores a member's block; durable when it returns.

        Raises:
            InvalidRequest: ``name`` is no CID, or the bytes are those of another (``block-mismatch``).
            TooMany: the member has too many bytes here that no deposit needs.
            StoreIsFull: no room is left on the disk.
        """
        self.accept_many(uploader, [(name, block)])
        return parse_cid(name)

    def accept_many(self, uploader: bytes, named: Sequence[tuple[str, bytes]]) -> None:
        """As ``accept``, for several at once: nothing is stored unless all are as they are named."""
        if not named:
            return
        blocks = []
        for name, block in named:
            cid = parse_cid(name)
            found = Cid.of(block, cid.codec)
            if found != cid:
                raise InvalidRequest(
                    f"expected the bytes of block {cid}; came {len(block)} bytes of {found}: send the right bytes",
                    code="block-mismatch",
                )
            blocks.append((cid, block))
        size_bytes = sum(len(block) for _, block in blocks)
        self.require_room(size_bytes)
        self._take_share(uploader, size_bytes)
        self.put_many(uploader, blocks)

    def put(self, uploader: bytes, block: bytes, codec: Codec = Codec.RAW) -> Cid:
        """Stores one block of this node's own or of a peer; durable when it returns."""
        cid = Cid.of(block, codec)
        self.put_many(uploader, [(cid, block)])
        return cid

    def put_many(self, uploader: bytes, blocks: Sequence[tuple[Cid, bytes]]) -> None:
        """Stores blocks; their arrival is written first, so that nothing lies in the store unknown to the sweep.

        Raises:
            storage.StorageError: the store cannot take one; those before it stay, for the sweep.
        """
        coming = {cid for cid, _ in blocks}
        with self._lock:
            self._lock.wait_for(lambda: coming.isdisjoint(self._deleting))
            self._note_arrival(uploader, blocks)
        kept = put_many(self.store, [(block, cid.codec) for cid, block in blocks])
        for (cid, _), answered in zip(blocks, kept, strict=True):
            if answered != cid:
                raise BlockCorruptError(f"expected the store to keep block {cid}; it kept another")

    def _note_arrival(self, uploader: bytes, blocks: Sequence[tuple[Cid, bytes]]) -> None:
        now = int(self._clock())
        arrived = block_arrivals.c
        with self._database.begin() as connection:
            for cid, block in blocks:
                again = update(block_arrivals).where(arrived.cid == str(cid)).values(arrived_at=now)
                if not connection.execute(again).rowcount:
                    row = {"cid": str(cid), "size_bytes": len(block), "uploader": uploader, "arrived_at": now}
                    connection.execute(insert(block_arrivals).values(row))

    def fetch(self, name: str) -> bytes:
        """A block, or the header that is this block.

        Raises:
            NotFound: it is not here.
        """
        cid = parse_cid(name)
        try:
            return self.store.get(cid)
        except BlockNotFoundError:
            header = self._header(cid)
        if header is None:
            raise NotFound(f"block {cid} is not here: ask the record's author or another custodian")
        return header

    def fetch_for_patient(self, patient: bytes, name: str) -> bytes:
        """A block of one of the patient's own records on the ledger, as ``fetch``.

        Raises:
            NotAllowed: no record of this patient that this node knows has such a block.
        """
        cid = parse_cid(name)
        records = self._ledger.snapshot().state.records
        with self._database.read() as connection:
            holders = connection.scalars(
                select(block_references.c.holder).where(block_references.c.cid == str(cid))
            ).all()
            keys = [*(bytes(holder) for holder in holders), cid.digest]
            rows = connection.execute(
                select(deposits.c.record_id, deposits.c.header_digest).where(
                    deposits.c.header_digest.in_(keys)
                )
            ).all()
        by_deposit = {
            bytes(row.record_id)
            for row in rows
            if (record := records.get(bytes(row.record_id)))
            and record.header_digest == bytes(row.header_digest)
        }
        owners = {records[key].patient for key in {*keys, *by_deposit} if key in records}
        if patient not in owners:
            raise NotAllowed(f"expected a block of an own record; {cid} is under none of this pseudonym")
        return self.fetch(name)

    @contextmanager
    def referring(self, holder: bytes, cids: Iterable[Cid]) -> Iterator[Connection]:
        """As ``referring_many``, for one holder."""
        with self.referring_many({holder: tuple(cids)}) as connection:
            yield connection

    @contextmanager
    def referring_many(self, needed: Mapping[bytes, Sequence[Cid]]) -> Iterator[Connection]:
        """A transaction after which each holder (32 bytes) needs its blocks; the sweep takes none of them meanwhile.

        Raises:
            Conflict: a block is not here (``blocks-missing``).
        """
        wanted = {cid for cids in needed.values() for cid in cids}
        deleted: set[Cid] = set()
        with self._lock:
            self._looking[id(deleted)] = deleted
            deleted |= self._deleting
        try:
            absent = missing(self.store, wanted)
            with self._lock:
                if gone := absent | (wanted & deleted) | (wanted & self._deleting):
                    raise Conflict(
                        f"expected block {min(gone)} to be here before it is needed: put it first",
                        code="blocks-missing",
                    )
                with self._database.begin() as connection:
                    for holder, cids in needed.items():
                        _refer(connection, holder, cids)
                    yield connection
        finally:
            with self._lock:
                del self._looking[id(deleted)]

    def sweep(self) -> int:
        """Deletes the blocks that nothing needs and whose last arrival is old; returns how many they were."""
        cutoff = int(self._clock()) - UNREFERENCED_SECONDS
        arrived = block_arrivals.c
        needed = select(block_references.c.cid).where(block_references.c.cid == arrived.cid).exists()
        unneeded = select(arrived.cid).where(arrived.arrived_at < cutoff, ~needed)
        with self._database.read() as connection:
            candidates = connection.scalars(unneeded).all()
        return sum(self._delete(Cid.parse(name), unneeded.where(arrived.cid == name)) for name in candidates)

    def drop_unneeded(self, cids: Iterable[Cid]) -> None:
        """Deletes those of these blocks that nothing needs, without waiting until their arrival is old."""
        arrived = block_arrivals.c
        needed = select(block_references.c.cid).where(block_references.c.cid == arrived.cid).exists()
        for cid in cids:
            self._delete(cid, select(arrived.cid).where(arrived.cid == str(cid), ~needed))

    def _delete(self, cid: Cid, unneeded: Select[tuple[str]]) -> bool:
        """Deletes a block if the query finds it, which asks whether nothing needs it; whether it did."""
        with self._lock:
            with self._database.read() as connection:
                if cid in self._deleting or connection.scalar(unneeded) is None:
                    return False
            self._deleting.add(cid)
        try:
            # The file before its row: a crash between the two leaves a row for the next sweep.
            self.store.delete(cid)
            with self._database.begin() as connection:
                connection.execute(delete(block_arrivals).where(block_arrivals.c.cid == str(cid)))
        finally:
            with self._lock:
                self._deleting.discard(cid)
                for deleted in self._looking.values():
                    deleted.add(cid)
                self._lock.notify_all()
        return True

    def held_bytes(self) -> int:
        """Bytes of all blocks here."""
        total = select(func.coalesce(func.sum(block_arrivals.c.size_bytes), 0))
        with self._database.read() as connection:
            return int(connection.scalar(total) or 0)

    def _header(self, cid: Cid) -> bytes | None:
        if cid.codec is not Codec.RAW:
            return None
        with self._database.read() as connection:
            header = connection.scalar(
                select(deposits.c.header).where(deposits.c.header_digest == cid.digest)
            )
        return None if header is None else bytes(header)

    def require_room(self, size_bytes: int) -> None:
        """Refuses to go below the reserve of free disk, which the database and the ledger's copy need.

        Raises:
            StoreIsFull: there is not enough.
        """
        if self._free_bytes is not None and (free := self._free_bytes()) < self._reserve_bytes + size_bytes:
            raise StoreIsFull(
                f"expected room for {size_bytes} bytes above this node's reserve of {self._reserve_bytes}; {free} are "
                "free: its operator can make room, or choose another custodian"
            )

    def _take_share(self, uploader: bytes, size_bytes: int) -> None:
        """Counts a block towards what its uploader may have waiting here; counted anew from the tables now and then."""
        now = self._clock()
        with self._lock:
            counted_at, waiting = self._waiting.get(uploader, (float("-inf"), 0))
        if now - counted_at > RECOUNT_SECONDS:
            counted_at, waiting = now, self._waiting_bytes(uploader)
        if waiting + size_bytes > UNREFERENCED_BYTES_PER_MEMBER:
            raise TooMany(
                f"expected at most {UNREFERENCED_BYTES_PER_MEMBER} bytes of blocks that wait for a deposit; "
                f"{waiting} wait: deposit them, or wait {UNREFERENCED_SECONDS} seconds"
            )
        with self._lock:
            self._waiting[uploader] = (counted_at, waiting + size_bytes)

    def _waiting_bytes(self, uploader: bytes) -> int:
        arrived = block_arrivals.c
        needed = select(block_references.c.cid).where(block_references.c.cid == arrived.cid).exists()
        total = select(func.coalesce(func.sum(arrived.size_bytes), 0))
        recent = arrived.arrived_at >= int(self._clock()) - 2 * UNREFERENCED_SECONDS
        with self._database.read() as connection:
            return int(connection.scalar(total.where(arrived.uploader == uploader, recent, ~needed)) or 0)


def _refer(connection: Connection, holder: bytes, cids: Sequence[Cid]) -> None:
    held = select(block_references.c.cid).where(block_references.c.holder == holder)
    names = {str(cid) for cid in cids} - set(connection.scalars(held))
    if rows := [{"cid": name, "holder": holder} for name in sorted(names)]:
        connection.execute(insert(block_references), rows)


def parse_cid(name: str) -> Cid:
    """The CID of its text; raises InvalidRequest."""
    try:
        return Cid.parse(name)
    except CidError as error:
        raise InvalidRequest(str(error)) from error
