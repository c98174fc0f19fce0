"""Moving a node between the embedded store and Kubo: whole, verified, killed at any line and run again."""

import os
import random
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from node_offline import initialise_offline
from phr_commands import run_phr

import node.moving_blocks
import storage
from engines.kubo import KuboDaemon
from node.block_store import open_block_store, open_embedded_store, open_kubo_store
from node.config import CONFIG_FILE, NodeConfig
from node.errors import ConfigurationError
from node.moving_blocks import StoreName, move_blocks
from node.node import Node
from storage import BlockStore, Cid, Codec, StoreUnavailableError, missing, unixfs

pytestmark = pytest.mark.network

_KILLS = 12
_HOLDER = b"\x07" * 32
_WATCHED = (str(Path(storage.__file__).parent), node.moving_blocks.__file__)
_NOT_KILLED_LINE = 2**40


@pytest.fixture
def directory(kubo: KuboDaemon, tmp_path: Path) -> Path:
    """A node with an embedded store that knows its Kubo; it holds blocks that it needs, and pins two."""
    initialise_offline(
        tmp_path, further={"kubo_url": kubo.rpc_url, "kubo_secret_file": str(kubo.secret_file)}
    )
    made = Node(NodeConfig.load(tmp_path / "node"))
    try:
        blocks = made.records.blocks
        contents = [(Cid.of(block), block) for block in (b"block %d" % n * 50 for n in range(25))]
        blocks.put_many(made.address, contents)
        large = unixfs.add(blocks.store, bytes(3 * 1024 * 1024))
        needed = [*(cid for cid, _ in contents), *unixfs.blocks_of(blocks.store, large)]
        assert {cid.codec for cid in needed} == set(Codec)
        with blocks.referring(_HOLDER, needed):
            pass
        for cid in needed[:2]:
            blocks.store.pin(cid)
    finally:
        made.stop()
    return tmp_path / "node"


def _held(directory: Path) -> dict[Cid, bytes]:
    """What the store that the node is set to use gives back."""
    with open_block_store(NodeConfig.load(directory)) as opened:
        return {cid: opened.store.get(cid) for cid in opened.store.cids()}


def _pinned(store: BlockStore) -> set[Cid]:
    return set(store.pins())


def test_move_there_and_back_keeps_every_block_and_pin(directory: Path) -> None:
    before = _held(directory)
    config = NodeConfig.load(directory)
    settings = (directory / CONFIG_FILE).read_text()
    seen: list[tuple[str, int, int]] = []
    moved = move_blocks(directory, "kubo", progress=lambda *step: seen.append(step))
    assert (moved.blocks, moved.copied, moved.switched, moved.removed) == (len(before), len(before), True, 0)
    assert NodeConfig.load(directory).store == "kubo"
    assert _held(directory) == before
    assert ("copying", len(before), len(before)) in seen
    assert ("verifying", len(before), len(before)) in seen
    with open_embedded_store(config) as old, open_kubo_store(config) as new:
        assert set(old.store.cids()) == set(before), "the old copies are a backup until they are removed"
        assert _pinned(new.store) == _pinned(old.store) != set()
        again = move_blocks(directory, "kubo", remove_old=True)
        assert (again.copied, again.switched, again.removed) == (0, False, len(before))
        assert set(old.store.cids()) == set()
    back = move_blocks(directory, "embedded", remove_old=True)
    assert (back.copied, back.removed) == (len(before), len(before))
    assert _held(directory) == before
    with open_kubo_store(config) as opened:
        assert list(opened.store.cids()) == []
    # Nothing else of the settings changed.
    assert set((directory / CONFIG_FILE).read_text().splitlines()) == set(settings.splitlines())


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("remove_old", [False, True], ids=["keeping", "removing"])
def test_move_killed_at_random_lines_is_finished_by_running_it_again(
    directory: Path, remove_old: bool
) -> None:
    before = _held(directory)
    dice = random.Random(6)
    died = 0
    for destination in ("kubo", "embedded"):
        for _ in range(_KILLS):
            killed = _move_in_child(directory, destination, remove_old, dice.randrange(1, 4000))
            died += killed
            assert _held(directory).items() >= before.items(), "the node would miss blocks"
            if not killed:
                break
        assert not _move_in_child(directory, destination, remove_old, _NOT_KILLED_LINE)
        assert NodeConfig.load(directory).store == destination
        assert _held(directory) == before
    assert died > 3
    with open_kubo_store(NodeConfig.load(directory)) as kubo_store:
        assert missing(kubo_store.store, before.keys()) == (set(before) if remove_old else set())


def test_move_of_a_damaged_block_that_is_needed_is_refused_and_names_it(directory: Path) -> None:
    config = NodeConfig.load(directory)
    victim = Cid.of(b"block 3" * 50)
    [path] = (directory / "blocks").rglob(str(victim))
    path.write_bytes(b"damaged")
    with pytest.raises(ConfigurationError, match=str(victim)):
        move_blocks(directory, "kubo")
    assert NodeConfig.load(directory).store == "embedded"
    path.unlink()
    with pytest.raises(ConfigurationError, match="are not there") as raised:
        move_blocks(directory, "kubo")
    assert str(victim) in str(raised.value)
    # A damaged block that nothing needs is left behind.
    with open_embedded_store(config) as opened:
        opened.store.put(b"block 3" * 50)
        stray = opened.store.put(b"nothing needs this")
    [path] = (directory / "blocks").rglob(str(stray))
    path.write_bytes(b"damaged")
    assert move_blocks(directory, "kubo").switched
    assert stray not in _held(directory)


def test_move_onto_a_damaged_copy_replaces_it(directory: Path) -> None:
    config = NodeConfig.load(directory)
    before = _held(directory)
    victim = min(before)
    move_blocks(directory, "kubo", remove_old=True)
    with open_embedded_store(config) as opened:
        opened.store.put(before[victim], victim.codec)
    [path] = (directory / "blocks").rglob(str(victim))
    path.write_bytes(b"damaged")
    move_blocks(directory, "embedded")
    assert _held(directory) == before


def test_move_with_the_daemon_down_is_refused_and_changes_nothing(directory: Path, kubo: KuboDaemon) -> None:
    before = _held(directory)
    kubo.stop()
    with pytest.raises(StoreUnavailableError, match="start the daemon"):
        move_blocks(directory, "kubo")
    assert NodeConfig.load(directory).store == "embedded"
    assert _held(directory) == before


def test_command_moves_blocks_and_prints_one_document(directory: Path, kubo: KuboDaemon) -> None:
    before = _held(directory)
    done = run_phr("node", "move-blocks", str(directory), "--to", "kubo", "--json")
    assert done.document == {
        "store": "kubo",
        "blocks": len(before),
        "copied": len(before),
        "switched": True,
        "removed": 0,
    }
    refused = run_phr("node", "move-blocks", str(directory), "--to", "embedded", "--remove-old")
    assert refused.exit_code != 0
    assert "--yes" in refused.err
    assert NodeConfig.load(directory).store == "kubo"


def _move_in_child(directory: Path, to: StoreName, remove_old: bool, line: int) -> bool:
    """Moves in a child that kills itself at its n-th line inside ``storage`` or the mover; whether it was killed."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _kill_at(line)
            move_blocks(directory, to, remove_old=remove_old)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the move failed"
    return False


def _kill_at(line: int) -> None:
    remaining = line
    lock = threading.Lock()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal remaining
        if not frame.f_code.co_filename.startswith(_WATCHED):
            return None
        if event == "line":
            with lock:
                remaining -= 1
                if remaining == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        return trace

    threading.settrace(trace)
    sys.settrace(trace)
