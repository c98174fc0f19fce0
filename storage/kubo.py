"""Blocks in a Kubo daemon, reached over its RPC; every block that comes back is hashed here.

Kubo keeps blocks by their digest alone, and its collector takes what is not pinned. So this store holds a block
exactly as long as it is pinned there:

* raw: a direct pin without a name;
* dag-pb: a mark, and a direct pin of the raw CID of the same bytes, named "dag-pb" unless they are held as raw too;
* ``BlockStore.pin``: a mark.

A mark is a pin of a CID with the identity hash, whose "digest" says in itself what is marked: it has no block. Pins are
direct, because Kubo's ``block/rm`` walks all recursive ones each time. Kubo removes a pin before it writes it anew, and
a kill between the two would lose it: what is pinned is not pinned again.
"""

import base64
import threading
from collections.abc import Collection, Iterator
from contextlib import suppress
from enum import Enum

from storage.blocks import MAX_BLOCK_BYTES, check_block, check_size
from storage.cid import CID_BYTES, Cid, Codec
from storage.errors import (
    BlockCorruptError,
    BlockNotFoundError,
    BlockPinnedError,
    BlockTooLargeError,
    CidError,
    StorageError,
    StoreFullError,
)
from storage.kubo_rpc import (
    CALL_SECONDS,
    LIST_ANSWER_BYTES,
    LIST_SECONDS,
    AnswerTooLongError,
    KuboRpc,
    NotPinnedError,
)

_LOCKS = 64
_PINS_LISTED_PER_QUESTION = 32
"""How many pins a daemon lists in the time of one question for one (2 shared cores: 30 microseconds to 1 ms)."""
_HELD_AS_RAW = ""
_HELD_AS_DAG_PB = "dag-pb"
_MARK_LABEL = b"phr1"
_IDENTITY = 0x00


class _Mark(Enum):
    DAG_PB = b"d"
    """These bytes are held as dag-pb."""
    PINNED = b"p"
    """This CID is pinned."""


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
        self._listed_count = 0
        # By digest: what is done to one block never interleaves, and two puts of it never pin it twice.
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def put(self, block: bytes, codec: Codec = Codec.RAW) -> Cid:
        """As ``BlockStore.put``. A corrupt copy of the same block is replaced by the good one."""
        check_size(block)
        cid = Cid.of(block, codec)
        with self._lock(cid):
            name = self._pin_name(cid)
            held = self._held(cid, name)
            if held and not self._is_intact(cid):
                self._forget_bytes(cid)
                self._keep(cid, block, _HELD_AS_DAG_PB if name is None else name)
            elif codec is Codec.RAW and not held:
                self._keep(cid, block, _HELD_AS_RAW)
            elif codec is Codec.DAG_PB and name is None:
                self._keep(cid, block, _HELD_AS_DAG_PB)
            if codec is Codec.DAG_PB and not held:
                self._mark(_Mark.DAG_PB, cid)
        return cid

    def get(self, cid: Cid) -> bytes:
        """As ``BlockSource.get``; the daemon asks no other for it. Equal bytes under the other codec are an answer."""
        return _read(self._rpc, cid, {"offline": "true"}, None)

    def has(self, cid: Cid) -> bool:
        """As ``BlockStore.has``."""
        return self._held(cid, self._pin_name(cid)) if cid.codec is Codec.RAW else self._held(cid, None)

    def delete(self, cid: Cid) -> bool:
        """As ``BlockStore.delete``; durable when it returns."""
        with self._lock(cid):
            if self._is_marked(_Mark.PINNED, cid):
                raise BlockPinnedError(f"block {cid} is pinned: unpin it before deleting it")
            name = self._pin_name(cid)
            held = self._held(cid, name)
            if cid.codec is Codec.DAG_PB:
                self._unmark(_Mark.DAG_PB, cid)
                others = name == _HELD_AS_RAW
            elif (others := self._is_marked(_Mark.DAG_PB, Cid(Codec.DAG_PB, cid.digest))) and held:
                self._pin_bytes(cid, _HELD_AS_DAG_PB)
            if not others:
                # Also when it was not held: who deleted it may have died between the pin and the block.
                self._forget_bytes(cid)
            return held

    def pin(self, cid: Cid) -> None:
        """As ``BlockStore.pin``; durable when it returns."""
        with self._lock(cid):
            if not self.has(cid):
                raise BlockNotFoundError(f"no block {cid} in {self._rpc} to pin: put it first")
            if not self._is_marked(_Mark.PINNED, cid):
                self._mark(_Mark.PINNED, cid)

    def unpin(self, cid: Cid) -> None:
        """As ``BlockStore.unpin``; durable when it returns."""
        with self._lock(cid):
            self._unmark(_Mark.PINNED, cid)

    def pins(self) -> Iterator[Cid]:
        """As ``BlockStore.pins``."""
        marks = (_marked_cid(_Mark.PINNED, text) for text in self._list())
        return (cid for cid in marks if cid is not None)

    def cids(self) -> Iterator[Cid]:
        """As ``BlockStore.cids``; one list, as of one moment."""
        for text, name in self._list().items():
            mark = _marked_cid(_Mark.DAG_PB, text)
            cid = _parsed(text) if mark is None and name == _HELD_AS_RAW else mark
            if cid is not None and (mark is not None or cid.codec is Codec.RAW):
                yield cid

    def missing(self, cids: Collection[Cid]) -> frozenset[Cid]:
        """Those of the blocks that are not held; one list of all instead of many questions, where that is faster."""
        if len(cids) * _PINS_LISTED_PER_QUESTION < self._listed_count:
            return frozenset(cid for cid in cids if not self.has(cid))
        held = frozenset(self.cids())
        self._listed_count = len(held)
        return frozenset(cids) - held

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

    def _lock(self, cid: Cid) -> threading.Lock:
        return self._locks[cid.digest[0] % _LOCKS]

    def _put_block(self, cid: Cid, block: bytes) -> None:
        doing = f"writing block {cid}"
        arguments = {"cid-codec": "raw", "mhtype": "sha2-256", "pin": "false"}
        answer = self._rpc.json("block/put", arguments, doing, files=[block])
        answered = answer.get("Key") if isinstance(answer, dict) else None
        if answered != str(_raw(cid)):
            raise BlockCorruptError(
                f"expected {self._rpc} to keep {_raw(cid)}; it answered {str(answered)[:100]!r}: do not trust it"
            )

    def _held(self, cid: Cid, name: str | None) -> bool:
        """Whether a block is held, from the name of the pin of its bytes (which dag-pb does not need)."""
        return name == _HELD_AS_RAW if cid.codec is Codec.RAW else self._is_marked(_Mark.DAG_PB, cid)

    def _is_intact(self, cid: Cid) -> bool:
        try:
            self.get(cid)
        except (BlockCorruptError, BlockNotFoundError):
            return False
        return True

    def _keep(self, cid: Cid, block: bytes, name: str) -> None:
        """Writes the bytes and pins them under a name."""
        self._put_block(cid, block)
        try:
            self._pin_bytes(cid, name)
        except StoreFullError:
            with suppress(
                StorageError
            ):  # the first error counts; what stays is not held, and a later put takes it up
                self._remove_block(cid)
            raise

    def _forget_bytes(self, cid: Cid) -> None:
        self._unpin(str(_raw(cid)), cid)
        self._remove_block(cid)

    def _remove_block(self, cid: Cid) -> None:
        doing = f"deleting block {cid}"
        answer = self._rpc.json("block/rm", {"arg": str(_raw(cid)), "force": "true"}, doing)
        if not isinstance(answer, dict):
            raise self._rpc.strange(f"{answer!r:.100}", doing)
        if message := answer.get("Error"):
            raise self._rpc.told(str(message), doing)

    def _pin_bytes(self, cid: Cid, name: str) -> None:
        arguments = {"arg": str(_raw(cid)), "recursive": "false", "name": name, "offline": "true"}
        self._rpc.call("pin/add", arguments, f"pinning block {cid}")

    def _pin_name(self, cid: Cid) -> str | None:
        """The name of the pin of a block's bytes; None when they are not pinned."""
        return self._listed(str(_raw(cid)), cid)

    def _mark(self, mark: _Mark, cid: Cid) -> None:
        arguments = {"arg": _mark_text(mark, cid), "recursive": "false", "offline": "true"}
        self._rpc.call("pin/add", arguments, f"marking block {cid}")

    def _unmark(self, mark: _Mark, cid: Cid) -> bool:
        return self._unpin(_mark_text(mark, cid), cid)

    def _unpin(self, text: str, cid: Cid) -> bool:
        try:
            self._rpc.call("pin/rm", {"arg": text, "offline": "true"}, f"unpinning block {cid}")
        except NotPinnedError:
            return False
        return True

    def _is_marked(self, mark: _Mark, cid: Cid) -> bool:
        return self._listed(_mark_text(mark, cid), cid) is not None

    def _listed(self, text: str, cid: Cid) -> str | None:
        """The name of one direct pin; None when there is none."""
        doing = f"looking for block {cid}"
        arguments = {"arg": text, "type": "direct", "names": "true", "offline": "true"}
        try:
            names = self._names(self._rpc.json("pin/ls", arguments, doing), doing)
        except NotPinnedError:
            return None
        if text not in names:
            raise self._rpc.strange("a list without what was asked for", doing)
        return names[text]

    def _list(self) -> dict[str, str]:
        """All direct pins and their names."""
        doing = "listing pins"
        # Not streamed: a stream that breaks off ends like a whole one.
        arguments = {"type": "direct", "names": "true"}
        answer = self._rpc.json(
            "pin/ls", arguments, doing, limit_bytes=LIST_ANSWER_BYTES, seconds=LIST_SECONDS
        )
        return self._names(answer, doing)

    def _names(self, answer: object, doing: str) -> dict[str, str]:
        keys = answer.get("Keys", {}) if isinstance(answer, dict) else None
        try:
            return {text: str(pin.get("Name", "")) for text, pin in keys.items()}  # type: ignore[union-attr]
        except AttributeError:
            raise self._rpc.strange(f"{answer!r:.100}", doing) from None


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
    arguments = {"arg": str(_raw(cid)), **where}
    try:
        block = rpc.call("block/get", arguments, doing, limit_bytes=MAX_BLOCK_BYTES, seconds=seconds)
        return check_block(cid, block)
    except (BlockCorruptError, BlockTooLargeError, AnswerTooLongError) as error:
        raise BlockCorruptError(f"{rpc} answered wrongly: {error}") from None


def _raw(cid: Cid) -> Cid:
    """The name under which Kubo is asked for any block: it keeps by digest, and looks inside no raw block."""
    return Cid(Codec.RAW, cid.digest)


def _parsed(text: str) -> Cid | None:
    """The CID of a pin; None for what this store does not pin: Kubo's own empty folder, or its operator's."""
    try:
        return Cid.parse(text)
    except CidError:
        return None


def _mark_text(mark: _Mark, cid: Cid) -> str:
    payload = _MARK_LABEL + mark.value + bytes(cid)
    binary = bytes((1, Codec.RAW, _IDENTITY, len(payload))) + payload
    return "b" + base64.b32encode(binary).decode().rstrip("=").lower()


_MARK_TEXT_CHARACTERS = len(_mark_text(_Mark.PINNED, Cid.of(b"")))


def _marked_cid(mark: _Mark, text: str) -> Cid | None:
    """The CID of a mark of this kind; None for any other pin."""
    if len(text) != _MARK_TEXT_CHARACTERS:
        return None
    try:
        binary = base64.b32decode(text[1:].upper() + "=" * (-len(text[1:]) % 8))
        cid = Cid.from_bytes(binary[-CID_BYTES:])
    except (ValueError, StorageError):
        return None
    return cid if _mark_text(mark, cid) == text else None
