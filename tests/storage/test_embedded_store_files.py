"""The embedded store's directory: rights, links, leftovers, damage, foreign content."""

import fcntl
import os
import stat
from pathlib import Path

import pytest

from storage import (
    MAX_BLOCK_BYTES,
    BlockCorruptError,
    BlockNotFoundError,
    Cid,
    Codec,
    EmbeddedBlockStore,
    StoreAccessError,
    corrupt_blocks,
)

_BLOCK = b"block" * 1000
_CID = Cid.of(_BLOCK)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "blocks"


@pytest.fixture
def store(directory: Path) -> EmbeddedBlockStore:
    store = EmbeddedBlockStore(directory)
    store.put(_BLOCK)
    return store


def _file_of(directory: Path, cid: Cid, kind: str = "blocks") -> Path:
    return directory / kind / str(cid)[-3:-1] / str(cid)


def test_reopening_a_store_finds_blocks_and_pins(store: EmbeddedBlockStore, directory: Path) -> None:
    node = store.put(b"node", Codec.DAG_PB)
    store.pin(node)
    reopened = EmbeddedBlockStore(str(directory))
    assert set(reopened.cids()) == {_CID, node}
    assert list(reopened.pins()) == [node]
    assert reopened.get(_CID) == _BLOCK


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_files_of_a_store_are_for_their_owner_alone(directory: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        store = EmbeddedBlockStore(directory)
        store.pin(store.put(_BLOCK))
    finally:
        os.umask(before)
    paths = [directory, *directory.rglob("*")]
    assert _file_of(directory, _CID) in paths
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_opening_an_empty_directory_open_to_others_closes_it(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o755)
    EmbeddedBlockStore(directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"K"),
        lambda path: path.write_bytes(path.read_bytes() + b"k"),
        lambda path: path.write_bytes(bytes(MAX_BLOCK_BYTES + 1)),
        lambda path: os.truncate(path, 2**40),
    ],
    ids=[
        "cut short",
        "emptied",
        "last byte changed",
        "one byte more",
        "above the limit",
        "a sparse tebibyte",
    ],
)
def test_get_of_a_damaged_block_names_it_and_put_heals_it(
    store: EmbeddedBlockStore, directory: Path, damage: object
) -> None:
    damage(_file_of(directory, _CID))  # type: ignore[operator]
    with pytest.raises(BlockCorruptError, match=str(_CID)):
        store.get(_CID)
    assert [cid for cid, _ in corrupt_blocks(store)] == [_CID]
    assert store.put(_BLOCK) == _CID
    assert store.get(_CID) == _BLOCK
    assert list(corrupt_blocks(store)) == []


def test_get_of_two_blocks_with_names_swapped_names_them(store: EmbeddedBlockStore, directory: Path) -> None:
    other = store.put(b"other")
    _file_of(directory, _CID).write_bytes(b"other")
    with pytest.raises(BlockCorruptError, match=f"{_CID}.*{other}"):
        store.get(_CID)


def test_get_through_a_symbolic_link_is_refused_even_to_the_right_bytes(
    store: EmbeddedBlockStore, directory: Path, tmp_path: Path
) -> None:
    """Attack: a block's file is replaced by a link, to make the store read, or later write, elsewhere."""
    outside = tmp_path / "outside"
    outside.write_bytes(_BLOCK)
    path = _file_of(directory, _CID)
    path.unlink()
    path.symlink_to(outside)
    assert not store.has(_CID)
    with pytest.raises(StoreAccessError, match="symbolic link"):
        store.get(_CID)
    store.put(_BLOCK)
    assert not path.is_symlink()
    assert store.get(_CID) == _BLOCK
    assert outside.read_bytes() == _BLOCK


@pytest.mark.parametrize("name", ["blocks", "pins", "temporary"])
def test_opening_or_using_a_store_with_a_linked_directory_is_refused(
    store: EmbeddedBlockStore, directory: Path, tmp_path: Path, name: str
) -> None:
    """Attack: a directory inside the store is replaced by a link to one that the attacker reads."""
    elsewhere = tmp_path / "elsewhere"
    (directory / name).rename(elsewhere)
    (directory / name).symlink_to(elsewhere)
    before = sorted(elsewhere.rglob("*"))
    with pytest.raises(StoreAccessError):
        EmbeddedBlockStore(directory).pin(store.put(b"new"))
    assert sorted(elsewhere.rglob("*")) == before


def test_put_into_a_linked_shard_is_refused(
    store: EmbeddedBlockStore, directory: Path, tmp_path: Path
) -> None:
    """Attack: the directory of one shard is a link, ready before the block comes."""
    block, elsewhere = b"another block", tmp_path / "elsewhere"
    elsewhere.mkdir()
    _file_of(directory, Cid.of(block)).parent.symlink_to(elsewhere)
    with pytest.raises(StoreAccessError):
        store.put(block)
    assert list(elsewhere.iterdir()) == []
    assert list((directory / "temporary").iterdir()) == []


@pytest.mark.parametrize("name", ["lock", "format"])
def test_opening_a_store_with_a_linked_file_is_refused(
    store: EmbeddedBlockStore, directory: Path, tmp_path: Path, name: str
) -> None:
    """Attack: the store's own files are links, so that opening it would create or lock a file elsewhere."""
    (directory / name).unlink()
    (directory / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreAccessError):
        EmbeddedBlockStore(directory).delete(_CID)
    assert not (tmp_path / "elsewhere").exists()


def test_opening_a_symbolic_link_to_a_store_is_refused(store: EmbeddedBlockStore, directory: Path) -> None:
    link = directory.with_name("link")
    link.symlink_to(directory)
    with pytest.raises(StoreAccessError):
        EmbeddedBlockStore(link)


def test_get_of_a_named_pipe_is_refused_at_once(store: EmbeddedBlockStore, directory: Path) -> None:
    """Attack: a pipe in a block's place, to hang the reader."""
    path = _file_of(directory, _CID)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StoreAccessError, match=str(_CID)):
        store.get(_CID)


def test_opening_a_directory_of_something_else_is_refused_and_leaves_it_alone(directory: Path) -> None:
    directory.mkdir(mode=0o755)
    (directory / "letters.txt").write_text("mine")
    with pytest.raises(StoreAccessError, match=r"letters\.txt"):
        EmbeddedBlockStore(directory)
    assert [path.name for path in directory.iterdir()] == ["letters.txt"]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755
    assert (directory / "letters.txt").read_text() == "mine"


def test_opening_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreAccessError):
        EmbeddedBlockStore(tmp_path / "file")


def test_opening_a_store_of_a_later_format_is_refused(store: EmbeddedBlockStore, directory: Path) -> None:
    (directory / "format").write_bytes(b"phr-block-store 2\n")
    with pytest.raises(StoreAccessError, match="block-store 2"):
        EmbeddedBlockStore(directory)


def test_opening_removes_what_dead_writers_left(store: EmbeddedBlockStore, directory: Path) -> None:
    (directory / "temporary" / "0123").write_bytes(b"half a bl")
    EmbeddedBlockStore(directory)
    assert list((directory / "temporary").iterdir()) == []
    assert store.get(_CID) == _BLOCK


def test_opening_leaves_alone_what_a_living_writer_writes(store: EmbeddedBlockStore, directory: Path) -> None:
    path = directory / "temporary" / "0123"
    with path.open("wb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        EmbeddedBlockStore(directory)
        assert path.exists()
    EmbeddedBlockStore(directory)
    assert not path.exists()


def test_using_a_store_whose_disk_was_unmounted_does_not_make_an_empty_one(
    store: EmbeddedBlockStore, directory: Path
) -> None:
    directory.rename(directory.with_name("unmounted"))
    for use in (lambda: store.put(b"new"), lambda: store.get(_CID), lambda: store.has(_CID)):
        with pytest.raises(StoreAccessError):
            use()
    assert not directory.exists()
    directory.mkdir()  # the bare mount point
    for use in (lambda: store.put(b"new"), lambda: store.get(_CID), lambda: list(store.cids())):
        with pytest.raises(StoreAccessError, match="mounted"):
            use()


def test_put_after_a_shards_directory_was_removed_makes_it_again(
    store: EmbeddedBlockStore, directory: Path
) -> None:
    path = _file_of(directory, _CID)
    path.unlink()
    path.parent.rmdir()
    with pytest.raises(BlockNotFoundError):
        store.get(_CID)
    store.put(_BLOCK)
    assert store.get(_CID) == _BLOCK


def test_listing_a_store_with_a_strange_file_names_it(store: EmbeddedBlockStore, directory: Path) -> None:
    (_file_of(directory, _CID).parent / "notes.txt").touch()
    with pytest.raises(StoreAccessError, match=r"notes\.txt"):
        list(store.cids())


def test_put_makes_the_block_durable_before_its_name_and_its_name_before_it_returns(
    store: EmbeddedBlockStore, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ``kill -9`` cannot show: after a power failure only what was synced is there."""
    block = b"a further block"
    path = _file_of(directory, Cid.of(block))
    trace: list[tuple[str, str]] = []
    fsync, rename = os.fsync, os.rename

    def traced_fsync(descriptor: int) -> None:
        trace.append(("fsync", os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def traced_rename(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        parent = os.readlink(f"/proc/self/fd/{src_dir_fd}")
        trace.append(("rename", f"{parent}/{source}"))
        rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", traced_fsync)
    monkeypatch.setattr(os, "rename", traced_rename)
    store.put(block)
    temporary = trace[1][1]
    assert temporary.startswith(str(directory / "temporary"))
    assert trace == [
        ("fsync", str(directory / "blocks")),
        ("fsync", temporary),
        ("rename", temporary),
        ("fsync", str(path.parent)),
    ]
    trace.clear()
    store.put(block)
    assert trace == [("fsync", str(path.parent))], "the first writer may have died before this"
