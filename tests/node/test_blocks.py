"""Blocks of a slow store: whoever looks for one, or deletes one, holds up nobody else, and nothing needed goes."""

import threading
import time
from collections.abc import Callable

import pytest
from custody_world import CustodyWorld

from node.blocks import UNREFERENCED_SECONDS, BlockService
from node.errors import Conflict
from storage import Cid, Codec, EmbeddedBlockStore

HOLDER = b"h" * 32
WAIT_SECONDS = 60.0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.01)


class HeldUp:
    """A store whose ``has`` or ``delete`` of one block takes until the test lets it go on."""

    def __init__(self, store: EmbeddedBlockStore) -> None:
        self._store = store
        self.slow: dict[tuple[str, Cid], threading.Event] = {}
        self.reached = threading.Event()

    def hold_up(self, doing: str, cid: Cid) -> threading.Event:
        return self.slow.setdefault((doing, cid), threading.Event())

    def _wait(self, doing: str, cid: Cid) -> None:
        if (event := self.slow.get((doing, cid))) is not None:
            self.reached.set()
            assert event.wait(WAIT_SECONDS)

    def put(self, block: bytes, codec: Codec = Codec.RAW) -> Cid:
        return self._store.put(block, codec)

    def get(self, cid: Cid) -> bytes:
        return self._store.get(cid)

    def has(self, cid: Cid) -> bool:
        found = self._store.has(cid)
        self._wait("has", cid)
        return found

    def delete(self, cid: Cid) -> bool:
        self._wait("delete", cid)
        return self._store.delete(cid)


class Slow:
    """The world's custodian over a store that a test holds up."""

    def __init__(self, world: CustodyWorld) -> None:
        self.own, self.clock = world.custodian.address, world.custodian.clock
        self.store = HeldUp(world.custodian.store)
        self.blocks = BlockService(
            self.store, world.custodian.database, world.custodian.ledger, clock=self.clock
        )
        self.errors: list[Exception] = []

    def elsewhere(self, action: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            try:
                action()
            except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
                self.errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def refer(self, cid: Cid) -> None:
        with self.blocks.referring(HOLDER, [cid]):
            pass


@pytest.fixture
def slow(custody_world: CustodyWorld) -> Slow:
    return Slow(custody_world)


def test_looking_for_a_block_in_a_slow_store_holds_up_no_other_work(slow):
    cid = slow.blocks.put(slow.own, b"looked for")
    go_on = slow.store.hold_up("has", cid)
    looking = slow.elsewhere(lambda: slow.refer(cid))
    assert slow.store.reached.wait(WAIT_SECONDS)
    other = slow.elsewhere(lambda: slow.refer(slow.blocks.put(slow.own, b"another")))
    other.join(WAIT_SECONDS)
    assert not other.is_alive()
    go_on.set()
    looking.join(WAIT_SECONDS)
    assert slow.errors == []


@pytest.mark.parametrize("remove", ["sweep", "drop_unneeded"])
def test_block_that_goes_while_it_is_looked_for_is_not_referred_to(slow, remove):
    cid = slow.blocks.put(slow.own, b"looked for")
    go_on = slow.store.hold_up("has", cid)
    looking = slow.elsewhere(lambda: slow.refer(cid))
    assert slow.store.reached.wait(WAIT_SECONDS)
    slow.clock.seconds += UNREFERENCED_SECONDS + 1
    if remove == "sweep":
        assert slow.blocks.sweep() == 1
    else:
        slow.blocks.drop_unneeded([cid])
    go_on.set()
    looking.join(WAIT_SECONDS)
    (error,) = slow.errors
    assert isinstance(error, Conflict)
    assert error.code == "blocks-missing"


def test_deleting_from_a_slow_store_holds_up_no_other_work_and_the_same_block_comes_after_it(slow):
    cid = slow.blocks.put(slow.own, b"old")
    slow.clock.seconds += UNREFERENCED_SECONDS + 1
    go_on = slow.store.hold_up("delete", cid)
    sweeping = slow.elsewhere(slow.blocks.sweep)
    assert slow.store.reached.wait(WAIT_SECONDS)
    other = slow.elsewhere(lambda: slow.refer(slow.blocks.put(slow.own, b"another")))
    other.join(WAIT_SECONDS)
    assert not other.is_alive()
    again = slow.elsewhere(lambda: slow.blocks.put(slow.own, b"old"))
    with pytest.raises(Conflict, match=str(cid)):
        slow.refer(cid)
    go_on.set()
    again.join(WAIT_SECONDS)
    sweeping.join(WAIT_SECONDS)
    assert slow.errors == []
    assert slow.store.has(cid)
    slow.refer(cid)
    slow.clock.seconds += UNREFERENCED_SECONDS + 1
    slow.blocks.sweep()
    assert slow.store.get(cid) == b"old"
