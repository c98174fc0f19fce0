"""A Kubo daemon killed with SIGKILL while it works: no acknowledged block, pin or deletion is lost."""

import random
import secrets
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import pytest
from kubo_fixtures import store_of

from engines.kubo import KuboDaemon
from storage import Cid, Codec, KuboBlockStore, StoreUnavailableError

pytestmark = pytest.mark.network

_KILLS = 12
_WRITERS = 3
_WAIT_SECONDS = 60.0


@dataclass
class Acknowledged:
    """What the store said was done."""

    blocks: dict[Cid, bytes] = field(default_factory=dict)
    pinned: set[Cid] = field(default_factory=set)
    deleted: set[Cid] = field(default_factory=set)
    doubtful: set[Cid] = field(default_factory=set)
    """What was to be deleted when the daemon died."""
    lock: threading.Lock = field(default_factory=threading.Lock)


def test_daemon_killed_at_random_moments_loses_nothing_acknowledged(kubo: KuboDaemon) -> None:
    dice = random.Random(4)
    known = Acknowledged()
    for _ in range(_KILLS):
        process = kubo.background.process()
        assert process is not None
        countdown = _Countdown(dice.randrange(1, 12))
        with ThreadPoolExecutor(_WRITERS) as pool:
            writers = [
                pool.submit(_write, store_of(kubo), known, countdown, dice.randrange(2**32))
                for _ in range(_WRITERS)
            ]
            assert countdown.reached.wait(_WAIT_SECONDS)
            # The others are in the middle of something: where, nobody chose.
            process.kill()
            process.wait(_WAIT_SECONDS)
            _finish(writers)
        kubo.start()
        _verify(store_of(kubo), known)
    assert len(known.blocks) > _KILLS
    assert known.pinned
    assert known.deleted


def test_put_during_a_restart_succeeds_by_a_bounded_number_of_attempts(kubo: KuboDaemon) -> None:
    store = store_of(kubo)
    first = store.put(b"before")
    kubo.kill()
    with pytest.raises(StoreUnavailableError, match="start the daemon"):
        store.put(b"while it is down")
    kubo.start()
    # The same store, whose kept connections are all dead.
    assert store.get(first) == b"before"
    assert store.get(store.put(b"after")) == b"after"


class _Countdown:
    """Set when so many operations were acknowledged."""

    def __init__(self, count: int) -> None:
        self.reached = threading.Event()
        self._count = count
        self._lock = threading.Lock()

    def step(self) -> None:
        with self._lock:
            self._count -= 1
            if self._count <= 0:
                self.reached.set()


def _write(store: KuboBlockStore, known: Acknowledged, countdown: _Countdown, seed: int) -> None:
    """Puts, puts again, pins and deletes until the daemon is gone."""
    dice = random.Random(seed)
    own: list[Cid] = []
    try:
        while True:
            block = secrets.token_bytes(dice.choice([10, 5_000, 300_000]))
            codec = dice.choice([Codec.RAW, Codec.RAW, Codec.DAG_PB])
            cid = store.put(block, codec)
            with known.lock:
                known.blocks[cid] = block
            own.append(cid)
            countdown.step()
            batch = [(secrets.token_bytes(2_000), Codec.RAW) for _ in range(dice.choice([0, 0, 6]))]
            for many, (content, _) in zip(store.put_many(batch), batch, strict=True):
                with known.lock:
                    known.blocks[many] = content
            again = dice.choice(own)
            store.put(known.blocks[again], again.codec)
            if dice.random() < 0.5:
                store.pin(cid)
                with known.lock:
                    known.pinned.add(cid)
            elif dice.random() < 0.4:
                own.remove(cid)
                with known.lock:
                    del known.blocks[cid]
                    known.doubtful.add(cid)
                store.delete(cid)
                with known.lock:
                    known.doubtful.remove(cid)
                    known.deleted.add(cid)
    except StoreUnavailableError:
        return
    finally:
        store.close()


def _finish(writers: list[Future[None]]) -> None:
    done, unfinished = wait(writers, _WAIT_SECONDS)
    assert not unfinished
    for writer in done:
        writer.result()


def _verify(store: KuboBlockStore, known: Acknowledged) -> None:
    held = set(store.cids())
    assert set(known.blocks) - held == set(), "acknowledged blocks are gone"
    assert known.pinned - set(store.pins()) == set(), "acknowledged pins are gone"
    assert known.deleted & held == set(), "deleted blocks are back"
    for cid, block in known.blocks.items():
        assert store.get(cid) == block
    store.close()
