"""Blocks in a Kubo daemon, reached over its RPC; every block that comes back is hashed here.

Kubo keeps blocks by their digest alone, and its collector takes what is not pinned. So this store holds a block
exactly as long as it is pinned there:

* raw: a direct pin without a name;
* dag-pb: a mark, and a direct pin of the raw CID of the same bytes, named "dag-pb" unless they are held as raw too;
* ``BlockStore.pin``: a mark.

Pins are direct, because Kubo's ``block/rm`` walks all recursive ones each time. Kubo removes a pin before it writes it
anew, and a kill between the two would lose it: what is pinned is not pinned again.
"""

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress

from storage.blocks import MAX_BLOCK_BYTES, check_block, check_size
from storage.cid import Cid, Codec
from storage.errors import (
    BlockCorruptError,
    BlockNotFoundError,
    BlockPinnedError,
    BlockTooLargeError,
    StorageError,
    StoreFullError,
    StoreUnavailableError,
)
from storage.kubo_pins import KuboPins, Mark, marked_cid, pinned_block, raw
from storage.kubo_rpc import CALL_SECONDS, AnswerTooLongError, KuboRpc

_LOCKS = 64
_BATCH_BLOCKS = 32
_BATCH_BYTES = 8 * 1024 * 1024
_PINS_LISTED_PER_QUESTION = 32
"""How many pins a daemon lists in the time of one question for one (2 shared cores: 30 microseconds to 1 ms)."""
_ALWAYS_ASKED_FOR = 256
"""So many blocks are asked for one by one, however few pins there may be: a list can take minutes."""
_MORE_THAN_CAN_BE_LISTED = 2**40
_HELD_AS_RAW = ""
_HELD_AS_DAG_PB = "dag-pb"


class KuboBlockStore:
    """A ``BlockStore`` in a Kubo daemon of its own; one process writes to it at a time, from any number of threads."""

    def __init__(self, url: str, secret: str, *, call_seconds: float = CALL_SECONDS) -> None:
        """Nothing is sent yet: the daemon may start later.

        Args:
            url: where the daemon's RPC answers.
            secret: its bearer token.
            call_seconds: how long any call but lists may take.
        """
        self._rpc = KuboRpc(url, secret, call_seconds=call_seconds)
        self._pins = KuboPins(self._rpc)
        self._listed_count = 0
        # By digest: what is done to one block never interleaves, and two puts of it never pin it twice.
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def put(self, block: bytes, codec: Codec = Codec.RAW) -> Cid:
        """As ``BlockStore.put``. A corrupt copy of the same block is replaced by the good one."""
        check_size(block)
        cid = Cid.of(block, codec)
        with self._locked([cid]):
            name = self._pins.name_of(cid)
            held = self._held(cid, name)
            if held and not self._is_intact(cid):
                self._forget_bytes(cid)
                self._keep(cid, block, _HELD_AS_DAG_PB if name is None else name)
            elif codec is Codec.RAW and not held:
                self._keep(cid, block, _HELD_AS_RAW)
            elif codec is Codec.DAG_PB and name is None:
                self._keep(cid, block, _HELD_AS_DAG_PB)
            if codec is Codec.DAG_PB and not held:
                self._pins.mark(Mark.DAG_PB, cid)
        return cid

    def put_many(self, blocks: Sequence[tuple[bytes, Codec]]) -> tuple[Cid, ...]:
        """As ``put`` of each; new raw blocks go several in a request. What came before an error may be held."""
        for block, _ in blocks:
            check_size(block)
        named = [(Cid.of(block, codec), block) for block, codec in blocks]
        done: set[Cid] = set()
        for batch in _batches({cid: block for cid, block in named if cid.codec is Codec.RAW}):
            with self._locked(batch):
                # Bytes that are held as dag-pb have a pin too.
                new = {cid: block for cid, block in batch.items() if self._pins.name_of(cid) is None}
                if new:
                    done.update(self._put_new(new))
        for cid, block in named:
            if cid not in done:
                self.put(block, cid.codec)
        return tuple(cid for cid, _ in named)

    def get(self, cid: Cid) -> bytes:
        """As ``BlockSource.get``; the daemon asks no other for it. Equal bytes under the other codec are an answer."""
        return _read(self._rpc, cid, {"offline": "true"}, None)

    def has(self, cid: Cid) -> bool:
        """As ``BlockStore.has``."""
        return self._held(cid, self._pins.name_of(cid) if cid.codec is Codec.RAW else None)

    def missing(self, cids: Collection[Cid]) -> frozenset[Cid]:
        """Those of the blocks that are not held; one list of all instead of many questions, where that is faster."""
        few = len(cids) <= _ALWAYS_ASKED_FOR
        if few or len(cids) * _PINS_LISTED_PER_QUESTION < self._listed_count:
            return self._missing_of_few(cids)
        try:
            held = frozenset(self.cids())
        except (StoreUnavailableError, AnswerTooLongError):
            absent = self._missing_of_few(cids)
            # It answers, so that it has too many pins for a list to come in time.
            self._listed_count = _MORE_THAN_CAN_BE_LISTED
            return absent
        self._listed_count = len(held)
        return frozenset(cids) - held

    def _missing_of_few(self, cids: Collection[Cid]) -> frozenset[Cid]:
        return frozenset(cid for cid in cids if not self.has(cid))

    def delete(self, cid: Cid) -> bool:
        """As ``BlockStore.delete``; durable when it returns."""
        with self._locked([cid]):
            if self._pins.is_marked(Mark.PINNED, cid):
                raise BlockPinnedError(f"block {cid} is pinned: unpin it before deleting it")
            name = self._pins.name_of(cid)
            held = self._held(cid, name)
            if cid.codec is Codec.DAG_PB:
                self._pins.unmark(Mark.DAG_PB, cid)
                others = name == _HELD_AS_RAW
            else:
                others = self._pins.is_marked(Mark.DAG_PB, Cid(Codec.DAG_PB, cid.digest))
                if others and held:
                    self._pins.pin([cid], _HELD_AS_DAG_PB)
            if not others:
                # Also when it was not held: who deleted it may have died between the pin and the block.
                self._forget_bytes(cid)
            return held

    def pin(self, cid: Cid) -> None:
        """As ``BlockStore.pin``; durable when it returns."""
        with self._locked([cid]):
            if not self.has(cid):
                raise BlockNotFoundError(f"no block {cid} in {self._rpc} to pin: put it first")
            if not self._pins.is_marked(Mark.PINNED, cid):
                self._pins.mark(Mark.PINNED, cid)

    def unpin(self, cid: Cid) -> None:
        """As ``BlockStore.unpin``; durable when it returns."""
        with self._locked([cid]):
            self._pins.unmark(Mark.PINNED, cid)

    def pins(self) -> Iterator[Cid]:
        """As ``BlockStore.pins``."""
        marks = (marked_cid(Mark.PINNED, text) for text in self._pins.all())
        return (cid for cid in marks if cid is not None)

    def cids(self) -> Iterator[Cid]:
        """As ``BlockStore.cids``; one list, as of one moment."""
        for text, name in self._pins.all().items():
            mark = marked_cid(Mark.DAG_PB, text)
            cid = pinned_block(text) if mark is None and name == _HELD_AS_RAW else mark
            if cid is not None and (mark is not None or cid.codec is Codec.RAW):
                yield cid

    def from_swarm(self, timeout_seconds: float) -> "SwarmSource":
        """Blocks of the daemons that this one is connected to; each is waited for so long."""
        return SwarmSource(self._rpc, timeout_seconds)

    def free_bytes(self) -> int:
        """How far the repository is from what its operator lets it grow to (``Datastore.StorageMax``); 0 beyond."""
        doing = "asking for free room"
        answer = self._rpc.json("repo/stat", {"size-only": "true"}, doing)
        try:
            return max(int(answer["StorageMax"]) - int(answer["RepoSize"]), 0)
        except (KeyError, TypeError, ValueError):
            raise self._rpc.strange(f"{answer!r:.100}", doing) from None

    def close(self) -> None:
        """Closes the connections to the daemon."""
        self._rpc.close()

    @contextmanager
    def _locked(self, cids: Iterable[Cid]) -> Iterator[None]:
        with ExitStack() as held:
            # In one order, so that two batches never wait for each other.
            for index in sorted({cid.digest[0] % _LOCKS for cid in cids}):
                held.enter_context(self._locks[index])
            yield

    def _held(self, cid: Cid, name: str | None) -> bool:
        """Whether a block is held, from the name of the pin of its bytes (which dag-pb does not need)."""
        return name == _HELD_AS_RAW if cid.codec is Codec.RAW else self._pins.is_marked(Mark.DAG_PB, cid)

    def _is_intact(self, cid: Cid) -> bool:
        try:
            self.get(cid)
        except (BlockCorruptError, BlockNotFoundError):
            return False
        return True

    def _keep(self, cid: Cid, block: bytes, name: str) -> None:
        """Writes the bytes and pins them under a name."""
        self._require_kept([cid], self._rpc.write([block], f"writing block {cid}"))
        try:
            self._pins.pin([cid], name)
        except StoreFullError:
            with suppress(
                StorageError
            ):  # the first error counts; what stays is not held, and a later put takes it up
                self._remove_bytes(cid)
            raise

    def _put_new(self, blocks: Mapping[Cid, bytes]) -> Sequence[Cid]:
        """Writes raw blocks that are not pinned, then pins them; returns those that it came to.

        An answer that breaks off holds its error back: who puts the rest one by one learns it.
        """
        cids = list(blocks)
        answered = self._rpc.write(list(blocks.values()), f"writing {len(cids)} blocks from {cids[0]} on")
        kept = cids[: len(answered)]
        self._require_kept(kept, answered)
        if kept:
            self._pins.pin(kept, _HELD_AS_RAW)
        return kept

    def _require_kept(self, cids: Sequence[Cid], answered: Sequence[str]) -> None:
        expected = [str(raw(cid)) for cid in cids]
        if list(answered) != expected:
            raise BlockCorruptError(
                f"expected {self._rpc} to keep {', '.join(expected[:3])}; it answered {str(answered)[:100]}: "
                "do not trust it"
            )

    def _forget_bytes(self, cid: Cid) -> None:
        self._pins.unpin(cid)
        self._remove_bytes(cid)

    def _remove_bytes(self, cid: Cid) -> None:
        doing = f"deleting block {cid}"
        answer = self._rpc.json("block/rm", {"arg": str(raw(cid)), "force": "true"}, doing)
        if not isinstance(answer, dict):
            raise self._rpc.strange(f"{answer!r:.100}", doing)
        if message := answer.get("Error"):
            raise self._rpc.told(str(message), doing)


class SwarmSource:
    """A ``BlockSource``: blocks that a daemon fetches from those it is connected to; nothing is pinned."""

    def __init__(self, rpc: KuboRpc, timeout_seconds: float) -> None:
        self._rpc = rpc
        self._timeout_seconds = timeout_seconds

    def get(self, cid: Cid) -> bytes:
        """As ``BlockSource.get``; a block that nobody has is one that did not come in time.

        Raises:
            StoreUnavailableError: nobody gave it in time, or the daemon does not answer.
        """
        return _read(self._rpc, cid, {}, self._timeout_seconds)


def _read(rpc: KuboRpc, cid: Cid, where: dict[str, str], seconds: float | None) -> bytes:
    doing = f"reading block {cid}"
    arguments = {"arg": str(raw(cid)), **where}
    try:
        block = rpc.call("block/get", arguments, doing, limit_bytes=MAX_BLOCK_BYTES, seconds=seconds)
        return check_block(cid, block)
    except (BlockCorruptError, BlockTooLargeError, AnswerTooLongError) as error:
        raise BlockCorruptError(f"{rpc} answered wrongly: {error}") from None


def _batches(blocks: Mapping[Cid, bytes]) -> Iterator[dict[Cid, bytes]]:
    """The blocks in groups that fit into a request each."""
    batch: dict[Cid, bytes] = {}
    size_bytes = 0
    for cid, block in blocks.items():
        if batch and (len(batch) == _BATCH_BLOCKS or size_bytes + len(block) > _BATCH_BYTES):
            yield batch
            batch, size_bytes = {}, 0
        batch[cid] = block
        size_bytes += len(block)
    if batch:
        yield batch
