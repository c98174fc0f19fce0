"""Pins of a Kubo daemon: of the bytes of blocks, and marks, which are pins of what has no block.

A mark is a CID with the identity hash: its "digest" is the text itself, here a label, a kind and the CID that is
marked. Everything is asked of and told to Kubo under raw CIDs: it keeps blocks by their digest, and looks inside no
raw block.
"""

import base64
from collections.abc import Sequence
from enum import Enum

from storage.cid import CID_BYTES, Cid, Codec
from storage.errors import CidError, StorageError
from storage.kubo_rpc import LIST_ANSWER_BYTES, LIST_SECONDS, KuboRpc, NotPinnedError

_LABEL = b"phr1"
_IDENTITY = 0x00


class Mark(Enum):
    """What a mark says of a CID; the value goes into the mark."""

    DAG_PB = b"d"
    """Its bytes are held as dag-pb."""
    PINNED = b"p"
    """It is pinned, as ``BlockStore.pin`` means it."""


class KuboPins:
    """The direct pins of one daemon."""

    def __init__(self, rpc: KuboRpc) -> None:
        self._rpc = rpc

    def name_of(self, cid: Cid) -> str | None:
        """The name of the pin of a block's bytes; None when they are not pinned."""
        return self._listed(str(raw(cid)), cid)

    def pin(self, cids: Sequence[Cid], name: str) -> None:
        """Pins the bytes of blocks under a name; they must be there."""
        texts = [str(raw(cid)) for cid in cids]
        arguments = {"arg": texts, "recursive": "false", "name": name, "offline": "true"}
        self._rpc.call("pin/add", arguments, f"pinning block {_some(cids)}")

    def unpin(self, cid: Cid) -> None:
        """Ends the pin of a block's bytes, if there is one."""
        self._remove(str(raw(cid)), cid)

    def is_marked(self, mark: Mark, cid: Cid) -> bool:
        """Whether there is this mark."""
        return self._listed(mark_text(mark, cid), cid) is not None

    def mark(self, mark: Mark, cid: Cid) -> None:
        """Marks a CID; durable when it returns."""
        arguments = {"arg": mark_text(mark, cid), "recursive": "false", "offline": "true"}
        self._rpc.call("pin/add", arguments, f"marking block {cid}")

    def unmark(self, mark: Mark, cid: Cid) -> None:
        """Ends a mark, if there is one; durable when it returns."""
        self._remove(mark_text(mark, cid), cid)

    def all(self) -> dict[str, str]:
        """The CID and the name of every direct pin, marks among them."""
        doing = "listing pins"
        # Not streamed: a stream that breaks off ends like a whole one.
        arguments = {"type": "direct", "names": "true"}
        answer = self._rpc.json(
            "pin/ls", arguments, doing, limit_bytes=LIST_ANSWER_BYTES, seconds=LIST_SECONDS
        )
        return self._names(answer, doing)

    def _remove(self, text: str, cid: Cid) -> None:
        try:
            self._rpc.call("pin/rm", {"arg": text, "offline": "true"}, f"unpinning block {cid}")
        except NotPinnedError:
            return

    def _listed(self, text: str, cid: Cid) -> str | None:
        doing = f"looking for block {cid}"
        arguments = {"arg": text, "type": "direct", "names": "true", "offline": "true"}
        try:
            names = self._names(self._rpc.json("pin/ls", arguments, doing), doing)
        except NotPinnedError:
            return None
        if text not in names:
            raise self._rpc.strange("a list without what was asked for", doing)
        return names[text]

    def _names(self, answer: object, doing: str) -> dict[str, str]:
        keys = answer.get("Keys", {}) if isinstance(answer, dict) else None
        try:
            return {text: str(pin.get("Name", "")) for text, pin in keys.items()}  # type: ignore[union-attr]
        except AttributeError:
            raise self._rpc.strange(f"{answer!r:.100}", doing) from None


def raw(cid: Cid) -> Cid:
    """The raw CID of the same bytes."""
    return Cid(Codec.RAW, cid.digest)


def pinned_block(text: str) -> Cid | None:
    """The block that a pin is of; None for a mark, and for what no store of ours pins."""
    try:
        return Cid.parse(text)
    except CidError:
        return None


def mark_text(mark: Mark, cid: Cid) -> str:
    """A mark, as a CID's text."""
    payload = _LABEL + mark.value + bytes(cid)
    binary = bytes((1, Codec.RAW, _IDENTITY, len(payload))) + payload
    return "b" + base64.b32encode(binary).decode().rstrip("=").lower()


_MARK_CHARACTERS = len(mark_text(Mark.PINNED, Cid.of(b"")))


def marked_cid(mark: Mark, text: str) -> Cid | None:
    """The CID that has this mark; None for any other pin."""
    if len(text) != _MARK_CHARACTERS:
        return None
    try:
        binary = base64.b32decode(text[1:].upper() + "=" * (-len(text[1:]) % 8))
        cid = Cid.from_bytes(binary[-CID_BYTES:])
    except (ValueError, StorageError):
        return None
    return cid if mark_text(mark, cid) == text else None


def _some(cids: Sequence[Cid]) -> str:
    return str(cids[0]) if len(cids) == 1 else f"{cids[0]} and {len(cids) - 1} more"
