"""Any sequence of operations, with damage and reopening among them, against a model of a few lines."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from kubo_fixtures import flatfs_files, store_of

from engines.kubo import KuboDaemon
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


class _KuboMachine(_StoreMachine):
    """Kubo keeps equal bytes once: damage to them harms both names, and a put of either mends both."""

    daemon: KuboDaemon

    def __init__(self) -> None:
        super().__init__()
        self.store = store_of(self.daemon)
        for cid in list(self.store.pins()):
            self.store.unpin(cid)
        for cid in list(self.store.cids()):
            self.store.delete(cid)

    @rule(block=_blocks, codec=_codecs)
    def put(self, block: bytes, codec: Codec) -> None:
        super().put(block, codec)
        self.corrupt -= set(_names(block))

    @rule(block=_blocks, codec=_codecs)
    def get(self, block: bytes, codec: Codec) -> None:
        other = next(cid for cid in _names(block) if cid.codec is not codec)
        if Cid.of(block, codec) in self.blocks or other not in self.blocks:
            super().get(block, codec)

    @rule(block=_blocks, cut=st.booleans())
    def damage(self, block: bytes, cut: bool) -> None:
        held = set(_names(block)) & self.blocks.keys()
        for path in flatfs_files(self.daemon, Cid.of(block)) if held else ():
            path.write_bytes(block[:-1] if cut and block else block + b"!")
            self.corrupt |= held

    @rule()
    def reopen(self) -> None:
        self.store = store_of(self.daemon)


def _names(block: bytes) -> list[Cid]:
    return [Cid.of(block, codec) for codec in Codec]


@pytest.mark.network
class TestKuboBlockStoreMachine(_KuboMachine.TestCase):  # type: ignore[name-defined, misc]
    settings = settings(
        max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
    )

    @pytest.fixture(autouse=True)
    def running(self, kubo: KuboDaemon) -> None:
        _KuboMachine.daemon = kubo


_SETTINGS = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestMemoryBlockStoreMachine = _MemoryMachine.TestCase
TestMemoryBlockStoreMachine.settings = _SETTINGS
TestEmbeddedBlockStoreMachine = _EmbeddedMachine.TestCase
TestEmbeddedBlockStoreMachine.settings = _SETTINGS
