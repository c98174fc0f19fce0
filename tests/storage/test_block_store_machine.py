"""Any sequence of operations, with damage and reopening among them, against a model of a few lines."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from storage import (
    BlockCorruptError,
    BlockNotFoundError,
    BlockPinnedError,
    BlockStore,
    Cid,
    Codec,
    EmbeddedBlockStore,
    MemoryBlockStore,
    VerifiedBlockStore,
)

_blocks = st.sampled_from([b"", b"0", b"1", b"2" * 70_000])
_codecs = st.sampled_from(Codec)


class _StoreMachine(RuleBasedStateMachine):
    store: BlockStore

    def __init__(self) -> None:
        super().__init__()
        self.blocks: dict[Cid, bytes] = {}
        self.pinned: set[Cid] = set()
        self.corrupt: set[Cid] = set()

    @rule(block=_blocks, codec=_codecs)
    def put(self, block: bytes, codec: Codec) -> None:
        cid = self.store.put(block, codec)
        assert cid == Cid.of(block, codec)
        self.blocks[cid] = block
        self.corrupt.discard(cid)

    @rule(block=_blocks, codec=_codecs)
    def get(self, block: bytes, codec: Codec) -> None:
        cid = Cid.of(block, codec)
        if cid not in self.blocks:
            with pytest.raises(BlockNotFoundError):
                self.store.get(cid)
        elif cid in self.corrupt:
            with pytest.raises(BlockCorruptError, match=str(cid)):
                self.store.get(cid)
        else:
            assert self.store.get(cid) == block

    @rule(block=_blocks, codec=_codecs)
    def delete(self, block: bytes, codec: Codec) -> None:
        cid = Cid.of(block, codec)
        if cid in self.pinned:
            with pytest.raises(BlockPinnedError):
                self.store.delete(cid)
        else:
            assert self.store.delete(cid) is (cid in self.blocks)
            self.blocks.pop(cid, None)
            self.corrupt.discard(cid)

    @rule(block=_blocks, codec=_codecs)
    def pin(self, block: bytes, codec: Codec) -> None:
        cid = Cid.of(block, codec)
        if cid in self.blocks:
            self.store.pin(cid)
            self.pinned.add(cid)
        else:
            with pytest.raises(BlockNotFoundError):
                self.store.pin(cid)

    @rule(block=_blocks, codec=_codecs)
    def unpin(self, block: bytes, codec: Codec) -> None:
        self.store.unpin(Cid.of(block, codec))
        self.pinned.discard(Cid.of(block, codec))

    @invariant()
    def lists_agree_with_the_model(self) -> None:
        assert sorted(self.store.cids()) == sorted(self.blocks)
        assert sorted(self.store.pins()) == sorted(self.pinned)
        assert all(self.store.has(cid) for cid in self.blocks)


class _MemoryMachine(_StoreMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = VerifiedBlockStore(MemoryBlockStore())


class _EmbeddedMachine(_StoreMachine):
    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.store = EmbeddedBlockStore(self.directory)

    @rule()
    def reopen(self) -> None:
        self.store = EmbeddedBlockStore(self.directory)

    @rule(block=_blocks, codec=_codecs, cut=st.booleans())
    def damage(self, block: bytes, codec: Codec, cut: bool) -> None:
        for path in (self.directory / "blocks").rglob(str(Cid.of(block, codec))):
            path.write_bytes(block[:-1] if cut and block else block + b"!")
            self.corrupt.add(Cid.of(block, codec))

    @rule()
    def leave_half_a_file(self) -> None:
        (self.directory / "temporary" / "left").write_bytes(b"half")

    def teardown(self) -> None:
        shutil.rmtree(self.directory)


_SETTINGS = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestMemoryBlockStoreMachine = _MemoryMachine.TestCase
TestMemoryBlockStoreMachine.settings = _SETTINGS
TestEmbeddedBlockStoreMachine = _EmbeddedMachine.TestCase
TestEmbeddedBlockStoreMachine.settings = _SETTINGS
