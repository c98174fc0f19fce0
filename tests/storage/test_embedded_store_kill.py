"""``kill -9`` at every line, and at random moments, with several processes at work: nothing acknowledged is lost."""

import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import storage
from storage import Cid, EmbeddedBlockStore, corrupt_blocks

_PACKAGE = str(Path(storage.__file__).parent)
_A, _B, _C = b"a" * 5000, b"b" * 5000, b"c" * 5000


def _script(directory: Path, acknowledge: Any) -> None:
    """Every kind of write once; each is acknowledged as soon as it returns."""
    store = EmbeddedBlockStore(directory)
    acknowledge(b"o")
    store.put(_A)
    acknowledge(b"A")
    store.put(_B)
    acknowledge(b"B")
    store.pin(Cid.of(_A))
    acknowledge(b"p")
    store.delete(Cid.of(_B))
    acknowledge(b"d")
    store.unpin(Cid.of(_A))
    acknowledge(b"u")


def _run_and_die_at(line: int, directory: Path) -> tuple[bytes, bool]:
    """Runs the script in a child that kills itself before its n-th line inside ``storage``.

    Returns what it acknowledged, and whether it came to its end before the line.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        remaining = line

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal remaining
            if not frame.f_code.co_filename.startswith(_PACKAGE):
                return None
            if event == "line":
                remaining -= 1
                if remaining == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        try:
            _script(directory, lambda letter: os.write(writer, letter))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as acknowledgements:
        acknowledged = acknowledgements.read()
    _, status = os.waitpid(child, 0)
    return acknowledged, not os.WIFSIGNALED(status)


def _check(directory: Path, acknowledged: bytes) -> None:
    store = EmbeddedBlockStore(directory)
    assert list((directory / "temporary").iterdir()) == []
    assert list(corrupt_blocks(store)) == []
    if b"A" in acknowledged:
        assert store.get(Cid.of(_A)) == _A
    if b"B" in acknowledged and b"p" not in acknowledged:
        assert store.get(Cid.of(_B)) == _B
    if b"d" in acknowledged:
        assert not store.has(Cid.of(_B))
    if b"p" in acknowledged and b"d" not in acknowledged:
        assert list(store.pins()) == [Cid.of(_A)]
    if b"u" in acknowledged:
        assert list(store.pins()) == []
    store.put(_C)
    assert store.get(Cid.of(_C)) == _C


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
def test_kill_at_every_line_loses_nothing_acknowledged(tmp_path: Path) -> None:
    seen: set[bytes] = set()
    line, complete = 0, False
    while not complete:
        line += 1
        directory = tmp_path / str(line)
        acknowledged, complete = _run_and_die_at(line, directory)
        seen.add(acknowledged)
        _check(directory, acknowledged)
    assert seen == {b"oABpdu"[:length] for length in range(7)}, "the child did not die in every phase"
    assert line > 150


_WRITER = textwrap.dedent("""
    import os, sys
    from storage import EmbeddedBlockStore
    directory, worker = sys.argv[1:]
    store = EmbeddedBlockStore(directory)
    number = 0
    while True:
        number += 1
        store.put(b"shared %d " % (number % 7) * 1000)
        cid = store.put((worker + " %d " % number).encode() * 9000)
        os.write(1, str(cid).encode() + b"\\n")
        if number % 3 == 0:
            store.delete(cid)
            os.write(1, b"-" + str(cid).encode() + b"\\n")
""")


def test_kill_of_concurrent_writers_at_random_moments_loses_nothing_acknowledged(tmp_path: Path) -> None:
    directory = tmp_path / "blocks"
    seed = 20_260_131
    chance = random.Random(seed)
    kept: set[Cid] = set()
    deleted: set[Cid] = set()
    for turn in range(6):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", _WRITER, str(directory), f"{turn}-{worker}"], stdout=subprocess.PIPE
            )
            for worker in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(chance.randrange(1, 40))]
            writer.kill()
            lines += writer.stdout.readlines()
            writer.stdout.close()
            assert writer.wait() == -signal.SIGKILL
            whole = [line.decode().strip() for line in lines if line.endswith(b"\n")]
            kept |= {Cid.parse(text) for text in whole if not text.startswith("-")}
            deleted |= {Cid.parse(text[1:]) for text in whole if text.startswith("-")}
            # The last one of a multiple of three may have been deleted without a word.
            if whole and not whole[-1].startswith("-"):
                kept.discard(Cid.parse(whole[-1]))
        kept -= deleted
        store = EmbeddedBlockStore(directory)
        assert list((directory / "temporary").iterdir()) == []
        assert list(corrupt_blocks(store)) == []
        assert [cid for cid in kept if not store.has(cid)] == []
        assert [cid for cid in deleted if store.has(cid)] == []
    assert len(kept) > 30


_CONTENDER = textwrap.dedent("""
    import random, sys
    from storage import BlockNotFoundError, Cid, EmbeddedBlockStore
    directory, seed = sys.argv[1:]
    chance = random.Random(int(seed))
    found = absent = 0
    for turn in range(150):
        if turn % 5 == 0:
            store = EmbeddedBlockStore(directory)
        block = b"contended %d" % chance.randrange(3) * 1000
        action = chance.randrange(3)
        if action == 0:
            store.put(block)
        elif action == 1:
            store.delete(Cid.of(block))
        else:
            try:
                assert store.get(Cid.of(block)) == block
                found += 1
            except BlockNotFoundError:
                absent += 1
    assert found and absent, (found, absent)
""")


def test_processes_that_open_put_get_and_delete_the_same_blocks_see_them_whole_or_not_at_all(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "blocks"
    contenders = [
        subprocess.Popen(
            [sys.executable, "-c", _CONTENDER, str(directory), str(seed)], stderr=subprocess.PIPE
        )
        for seed in range(4)
    ]
    for contender in contenders:
        _, errors = contender.communicate(timeout=240)
        assert contender.returncode == 0, errors.decode()
    assert list(corrupt_blocks(EmbeddedBlockStore(directory))) == []
    assert list((directory / "temporary").iterdir()) == []
