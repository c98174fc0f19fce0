"""A full disk: the put says so plainly and leaves nothing behind."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

_FILE_LIMIT = textwrap.dedent("""
    import os, resource, sys
    from storage import Cid, EmbeddedBlockStore, StoreFullError
    store = EmbeddedBlockStore(sys.argv[1])
    kept = store.put(b"kept")
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    block = bytes(300_000)
    try:
        store.put(block)
    except StoreFullError as error:
        assert str(Cid.of(block)) in str(error) and "no room" in str(error), error
    else:
        raise AssertionError("the kernel let 300,000 bytes pass a limit of 100,000")
    assert os.listdir(sys.argv[1] + "/temporary") == []
    assert list(store.cids()) == [kept] and store.get(kept) == b"kept"
    small = store.put(b"small enough")
    assert store.get(small) == b"small enough"
""")

_FULL_DISK = textwrap.dedent("""
    import os, sys
    from storage import EmbeddedBlockStore, MAX_BLOCK_BYTES, StoreFullError, corrupt_blocks, unixfs
    store = EmbeddedBlockStore(sys.argv[1] + "/blocks")
    kept = []
    try:
        for number in range(1000):
            kept.append(store.put(bytes([number]) * 100_000))
    except StoreFullError as error:
        assert "no room" in str(error), error
    else:
        raise AssertionError("four mebibytes were never full")
    assert 10 < len(kept) < 45, len(kept)
    assert set(store.cids()) == set(kept)
    assert os.listdir(sys.argv[1] + "/blocks/temporary") == []
    assert list(corrupt_blocks(EmbeddedBlockStore(sys.argv[1] + "/blocks"))) == []
    try:
        unixfs.add(store, os.urandom(3 * MAX_BLOCK_BYTES))
    except StoreFullError:
        pass
    else:
        raise AssertionError("a full disk took six mebibytes")
    for cid in kept[:5]:
        store.delete(cid)
    again = store.put(b"room again" * 10_000)
    assert store.get(again) == b"room again" * 10_000
""")


def test_put_beyond_the_file_size_limit_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", _FILE_LIMIT, str(tmp_path / "blocks")],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr


def test_put_on_a_full_disk_keeps_nothing_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs -o size=4m none "$1"'
    in_own_mounts = ["unshare", "--mount", "--map-root-user", "sh", "-e", "-c"]
    try:
        probe = subprocess.run([*in_own_mounts, mount, "sh", str(tmp_path)], capture_output=True, timeout=240)
    except FileNotFoundError:
        pytest.skip("no `unshare` on this machine to mount a small disk with")
    if probe.returncode != 0:
        pytest.skip("this machine lets nobody mount a small disk")
    result = subprocess.run(
        [*in_own_mounts, f'{mount}; exec "$2" -c "$3" "$1"', "sh", str(tmp_path), sys.executable, _FULL_DISK],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert result.returncode == 0, result.stderr
