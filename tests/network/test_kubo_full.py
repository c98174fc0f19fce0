"""A Kubo repository on a full disk: clear errors, nothing corrupt or lost, and work again when there is room.

Runs in a mount namespace with a file system of a few mebibytes; skipped, saying so, where that is not allowed.
"""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from kubo_fixtures import new_swarm, store_of

from storage import Cid, KuboBlockStore, StoreFullError

pytestmark = pytest.mark.network

_DISK = "size=24m"
_ROUNDS = 6


@pytest.mark.parametrize("scenario", ["large_blocks", "pin_database"])
def test_kubo_on_a_full_disk_says_so_loses_nothing_and_recovers(
    ipfs_binary: Path, tmp_path: Path, scenario: str
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    namespace = ["unshare", "-rm"] if os.geteuid() else ["unshare", "-m"]
    mount = f"mount -t tmpfs -o {_DISK} none {disk}"
    if subprocess.run([*namespace, "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets no test mount a small file system")
    script = (
        "import sys; from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[3])\n"
        f"import test_kubo_full; test_kubo_full.{scenario}(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "print('recovered')\n"
    )
    python = [
        sys.executable,
        "-c",
        script,
        str(disk),
        str(ipfs_binary),
        str(Path(__file__).parents[1] / "support"),
    ]
    done = subprocess.run(
        [*namespace, "sh", "-c", f'{mount} && exec "$@"', "sh", *python],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(Path(__file__).parent)},
        cwd=Path(__file__).parents[2],
        timeout=240,
        check=False,
    )
    assert done.stdout.strip() == "recovered", done.stderr


def large_blocks(disk: Path, binary: Path) -> None:
    """The blocks fill the disk: Kubo recovers when there is room, unless its pin database met the end as well."""
    with new_swarm(disk, binary, 1) as swarm:
        daemon = swarm.daemons[0]
        store = store_of(daemon)
        _fill(disk, leave_bytes=8 * 1024 * 1024)
        kept: set[Cid] = set()
        error = _put_until_full(store, kept, set(), 300_000)
        assert "no room" in str(error)
        _require_intact(store, kept)
        (disk / "ballast").unlink()
        if "restart the daemon" in str(error):
            daemon.restart()
        for _ in range(3):
            kept.add(store.put(secrets.token_bytes(300_000)))
        gone = kept.pop()
        assert store.delete(gone)
        daemon.kill()
        daemon.start()
        _require_intact(store, kept)
        assert not store.has(gone)


def pin_database(disk: Path, binary: Path) -> None:
    """Small blocks and pins, so that in some round the database of pins meets the full disk, and must be restarted."""
    with new_swarm(disk, binary, 1) as swarm:
        daemon = swarm.daemons[0]
        store = store_of(daemon)
        kept: set[Cid] = set()
        pinned: set[Cid] = set()
        for number in range(_ROUNDS):
            _fill(disk, leave_bytes=number * 4096)
            error = _put_until_full(store, kept, pinned, 100)
            assert "no room" in str(error)
            _require_intact(store, kept)
            (disk / "ballast").unlink()
            if "restart the daemon" in str(error):
                daemon.restart()
            kept.add(store.put(secrets.token_bytes(100)))
            _require_intact(store, kept)
            assert pinned <= set(store.pins())
        daemon.kill()
        daemon.start()
        _require_intact(store, kept)
        assert pinned <= set(store.pins())


def _fill(disk: Path, *, leave_bytes: int) -> None:
    """Lets a file take all of the disk but some bytes."""
    with open(disk / "ballast", "wb", buffering=0) as ballast:
        size_bytes = 0
        try:
            while written := ballast.write(bytes(4096)):
                size_bytes += written
        except OSError:
            ballast.truncate(max(size_bytes - leave_bytes, 0))


def _put_until_full(
    store: KuboBlockStore, kept: set[Cid], pinned: set[Cid], size_bytes: int
) -> StoreFullError:
    """Puts, and pins every second block, until both are refused; returns the last error."""
    for number in range(10_000):
        try:
            cid = store.put(secrets.token_bytes(size_bytes))
            kept.add(cid)
            if number % 2:
                store.pin(cid)
                pinned.add(cid)
        except StoreFullError as error:
            return error
    raise AssertionError("a disk of a few mebibytes was never full")


def _require_intact(store: KuboBlockStore, kept: set[Cid]) -> None:
    assert kept <= set(store.cids())
    for cid in kept:
        store.get(cid)
