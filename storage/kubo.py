"""Blocks in a Kubo daemon, reached over its RPC; every block that comes back is hashed here.

Kubo keeps blocks by their digest alone and lets its collector take what is not pinned. So this store holds a block
exactly as long as it is pinned there:

* raw: a recursive pin of its CID (a raw block has no children);
* dag-pb: a pin of the raw CID of the same bytes, and a mark;
* ``BlockStore.pin``: a mark.

A mark is a pin of a CID with the identity hash, whose "digest" says in itself what is marked: it has no block. Kubo
removes a pin before it writes it anew, and a kill between the two would lose it: what is pinned is not pinned again.
"""

import base64
import threading
from collections.abc import Collection, Iterator
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
    StoreAnswerError,
)
from storage.kubo_rpc import CALL_SECONDS, LIST_ANSWER_BYTES, LIST_SECONDS, KuboRpc, NotPinnedError

_LOCKS = 64
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
        # By digest: what is done to one block never interleaves, and two puts of it never pin it twice.
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def put(self, block: bytes, codec: Codec = Codec.RAW) -> Cid:
        """As ``BlockStore.put``. A corrupt copy of the same block is replaced by the good one."""
        check_size(block)
        cid = Cid.of(block, codec)
        with self._lock(cid):
            if codec is Codec.RAW:
                self._put_block(cid, block, pin=not self._is_pinned(cid, "recursive"))
            else:
                self._put_block(cid, block, pin=False)
                if not self._is_marked(_Mark.DAG_PB, cid):
                    self._pin_directly(cid)
                    self._mark(_Mark.DAG_PB, cid)
        return cid

    def get(self, cid: Cid) -> bytes:
        """As ``BlockSource.get``; the daemon asks no other for it. Equal bytes under the other codec are an answer."""
        doing = f"reading block {cid}"
        arguments = {"arg": str(_raw(cid)), "offline": "true"}
        try:
            block = self._rpc.call("block/get", arguments, doing, limit_bytes=MAX_BLOCK_BYTES)
            return check_block(cid, block)
        except (BlockCorruptError, BlockTooLargeError, StoreAnswerError) as error:
            raise BlockCorruptError(f"{self._rpc} answered wrongly: {error}") from None

    def has(self, cid: Cid) -> bool:
        """As ``BlockStore.has``."""
        if cid.codec is Codec.RAW:
            return self._is_pinned(cid, "recursive")
        return self._is_marked(_Mark.DAG_PB, cid)

    def delete(self, cid: Cid) -> bool:
        """As ``BlockStore.delete``; durable when it returns."""
        with self._lock(cid):
            if self._is_marked(_Mark.PINNED, cid):
                raise BlockPinnedError(f"block {cid} is pinned: unpin it before deleting it")
            if cid.codec is Codec.RAW:
                held, kept = self._release_raw(cid)
            else:
                held, kept = self._release_dag_pb(cid)
            if not kept:
                # Also when it was not held: who deleted it may have died between the pin and the block.
                self._remove_block(cid)
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
        return iter(self._marked(_Mark.PINNED))

    def cids(self) -> Iterator[Cid]:
        """As ``BlockStore.cids``; one list, as of one moment."""
        return iter((*self._held_raw(), *self._marked(_Mark.DAG_PB)))

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

    def _put_block(self, cid: Cid, block: bytes, *, pin: bool) -> None:
        doing = f"writing block {cid}"
        arguments = {"cid-codec": "raw", "mhtype": "sha2-256", "pin": "true" if pin else "false"}
        answer = self._rpc.json("block/put", arguments, doing, files=[block])
        answered = answer.get("Key") if isinstance(answer, dict) else None
        if answered != str(_raw(cid)):
            raise BlockCorruptError(
                f"expected {self._rpc} to keep {_raw(cid)}; it answered {str(answered)[:100]!r}: do not trust it"
            )

    def _release_raw(self, cid: Cid) -> tuple[bool, bool]:
        """Ends holding a block as raw: whether it was held, and whether its bytes stay for the other codec."""
        held = self._is_pinned(cid, "recursive")
        kept = self._is_marked(_Mark.DAG_PB, Cid(Codec.DAG_PB, cid.digest))
        if held:
            self._unpin(str(cid), cid)
            if kept:
                self._pin_directly(cid)
        return held, kept

    def _release_dag_pb(self, cid: Cid) -> tuple[bool, bool]:
        """As ``_release_raw``, for a block held as dag-pb."""
        kept = self._is_pinned(_raw(cid), "recursive")
        held = self._unmark(_Mark.DAG_PB, cid)
        if not kept:
            self._unpin(str(_raw(cid)), cid)
        return held, kept

    def _remove_block(self, cid: Cid) -> None:
        doing = f"deleting block {cid}"
        answer = self._rpc.json("block/rm", {"arg": str(_raw(cid)), "force": "true"}, doing)
        if not isinstance(answer, dict):
            raise self._rpc.strange(f"{answer!r:.100}", doing)
        if message := answer.get("Error"):
            raise self._rpc.told(str(message), doing)

    def _pin_directly(self, cid: Cid) -> None:
        """Keeps the collector from bytes that are held as dag-pb only."""
        raw = str(_raw(cid))
        if not self._is_pinned(_raw(cid), "recursive") and not self._is_pinned(_raw(cid), "direct"):
            arguments = {"arg": raw, "recursive": "false", "offline": "true"}
            self._rpc.call("pin/add", arguments, f"pinning block {cid}")

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

    def _is_pinned(self, cid: Cid, kind: str) -> bool:
        return self._is_listed(str(cid), kind, cid)

    def _is_marked(self, mark: _Mark, cid: Cid) -> bool:
        return self._is_listed(_mark_text(mark, cid), "direct", cid)

    def _is_listed(self, text: str, kind: str, cid: Cid) -> bool:
        doing = f"looking for block {cid}"
        try:
            answer = self._rpc.json("pin/ls", {"arg": text, "type": kind, "offline": "true"}, doing)
        except NotPinnedError:
            return False
        if text not in self._keys(answer, doing):
            raise self._rpc.strange("a list without what was asked for", doing)
        return True

    def _held_raw(self) -> list[Cid]:
        found = []
        for text in self._list("recursive"):
            try:
                cid = Cid.parse(text)
            except CidError:
                continue  # Kubo's own empty folder, or what its operator pinned
            if cid.codec is Codec.RAW:
                found.append(cid)
        return found

    def _marked(self, mark: _Mark) -> list[Cid]:
        return [cid for text in self._list("direct") if (cid := _marked_cid(mark, text)) is not None]

    def _list(self, kind: str) -> Collection[str]:
        doing = f"listing {kind} pins"
        # Not streamed: a stream that breaks off ends like a whole one.
        answer = self._rpc.json(
            "pin/ls", {"type": kind}, doing, limit_bytes=LIST_ANSWER_BYTES, seconds=LIST_SECONDS
        )
        return self._keys(answer, doing)

    def _keys(self, answer: object, doing: str) -> Collection[str]:
        keys = answer.get("Keys", {}) if isinstance(answer, dict) else None
        if not isinstance(keys, dict):
            raise self._rpc.strange(f"{answer!r:.100}", doing)
        return keys


def _raw(cid: Cid) -> Cid:
    """The name under which Kubo is asked for any block: it keeps by digest, and looks inside no raw block."""
    return Cid(Codec.RAW, cid.digest)


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
