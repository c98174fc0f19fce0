"""Validators killed with -9 under load: what goes on, what halts, and that nothing forks, vanishes or lands twice."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from chain_fixtures import Key, LedgerWorld, Validators
from node_processes import wait_until

from ledger import calls
from ledger.chain import Chain
from ledger.contract import ConsentLedger
from ledger.endpoints import Endpoints
from ledger.engine import BFT
from ledger.errors import ChainUnreachable, LedgerError, NotFinal
from ledger.follow import Follower, MemoryFollowStore
from ledger.outbox import MemoryOutbox
from ledger.sender import Sender, Submission
from vocabulary import Role

pytestmark = [pytest.mark.network, pytest.mark.timeout(600)]
GAS = 300_000
HALTED_SECONDS = 5.0
"""A chain that stands still for so long, five times what an empty block waits for here, has halted."""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Validators]:
    """Validators that these tests kill; each leaves all four running."""
    started = Validators.start(tmp_path_factory.mktemp("killed"), accounts=60, empty_blocks_milliseconds=1000)
    yield started
    started.running.kill()


@pytest.fixture(autouse=True)
def _all_run(own: Validators) -> None:
    """Each test begins with four validators."""
    own.running.start()


def through_all(own: Validators) -> LedgerWorld:
    """A fresh ledger, reached through all validators from then on."""
    world = LedgerWorld(own)
    world.chain.close()
    world.chain = Endpoints(own.running.rpc_urls, BFT, world.deployment)
    world.contract = ConsentLedger(world.chain, world.deployment.address)
    for sender in world._senders.values():
        sender.chain = world.chain
    return world


@dataclass
class Load:
    """Transactions without a pause through all endpoints, by several accounts, one sender each."""

    world: LedgerWorld
    chain: Chain
    senders: list[Sender]
    outboxes: list[MemoryOutbox]
    member: Key
    acknowledged: dict[bytes, int] = field(default_factory=dict)
    """The transactions whose receipt came, with their block."""
    _end: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    @classmethod
    def start(cls, own: Validators, accounts: int = 3) -> "Load":
        world = through_all(own)
        member, chain = world.enrol(Role.CONSUMER), world.chain
        outboxes = [MemoryOutbox() for _ in range(accounts)]
        keys = [world.enrol(Role.CONSUMER) for _ in range(accounts)]
        senders = [
            Sender(chain, key.address, key.sign_digest, outbox, timeout_seconds=180)
            for key, outbox in zip(keys, outboxes, strict=True)
        ]
        load = cls(world, chain, senders, outboxes, member)
        for sender in senders:
            load._threads.append(threading.Thread(target=load._send, args=(sender,), daemon=True))
            load._threads[-1].start()
        return load

    def call(self, sender: Sender, version: int) -> bytes:
        """A change of the sender's own keys: each is a new version, so order and number are on the ledger."""
        keys = self.world.member_keys(Key(bytes(32), sender.address), nonce=version, deadline=0)
        return calls.change_member_keys(keys)

    def _send(self, sender: Sender) -> None:
        version = 1
        try:
            while not self._end.is_set():
                several: list[Submission] = []
                for _ in range(5):
                    version += 1
                    several.append(self._submitted(sender, version))
                for one in several:
                    receipt = sender.wait(one)
                    self.acknowledged[receipt.transaction_hash] = receipt.block_number
        except BaseException as error:
            self.failures.append(error)
            raise

    def _submitted(self, sender: Sender, version: int) -> Submission:
        """Submits again while no validator answers: nothing is journalled by then."""
        while True:
            try:
                return sender.submit(self.world.deployment.address, self.call(sender, version), GAS)
            except ChainUnreachable:
                time.sleep(0.1)

    def wait_for_more(self, count: int) -> None:
        """Waits until so many more were acknowledged."""
        wanted, deadline = len(self.acknowledged) + count, time.monotonic() + 120
        while len(self.acknowledged) < wanted:
            assert not self.failures, self.failures
            assert time.monotonic() < deadline, f"{len(self.acknowledged)} of {wanted} acknowledged"
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends the load once everything on its way is final."""
        self._end.set()
        for thread in self._threads:
            thread.join(180)
            assert not thread.is_alive()
        assert not self.failures, self.failures

    def close(self) -> None:
        self._end.set()
        self.world.close()


@pytest.fixture
def load(own: Validators) -> Iterator[Load]:
    running = Load.start(own)
    yield running
    running.close()


def require_one_history(own: Validators) -> int:
    """All validators have the same block at each height; the lowest of their heights."""
    heights = [height for height in own.running.heights() if height is not None]
    assert len(heights) == 4
    hashes = []
    for url in own.running.rpc_urls:
        with Chain(url, BFT) as chain:
            numbers = [[hex(number), False] for number in range(1, min(heights) + 1)]
            found = [
                block
                for start in range(0, len(numbers), 500)
                for block in chain.request_many("eth_getBlockByNumber", numbers[start : start + 500])
            ]
            hashes.append([(block["hash"], block["stateRoot"], block["parentHash"]) for block in found])
    assert hashes[0] == hashes[1] == hashes[2] == hashes[3]
    for before, after in zip(hashes[0], hashes[0][1:], strict=False):
        assert after[2] == before[0]
    return min(heights)


def require_each_once(load: Load) -> None:
    """Everything journalled landed once: no gap in the numbers, no version twice, every acknowledged one there."""
    assert all(outbox.pending() == [] for outbox in load.outboxes)
    state = load.world.state()
    total = 0
    for sender in load.senders:
        versions = [keys.version for keys in state.members[sender.address].keys]
        assert versions == list(range(1, len(versions) + 1))
        sent = load.world.chain.transaction_count(sender.address)
        assert sent == len(versions) - 1
        total += sent
    assert total == len(load.acknowledged)
    hashes = list(load.acknowledged)
    receipts = load.world.chain.receipts(hashes)
    assert [receipt and receipt.block_number for receipt in receipts] == list(load.acknowledged.values())
    assert all(receipt is not None and receipt.succeeded for receipt in receipts)


def resumed(sender: Sender) -> bool:
    """Whether everything in the outbox could be handed in, as a node tries every few seconds."""
    try:
        sender.resume()
        return True
    except LedgerError:
        return False


def require_halted(own: Validators, alive: list[int]) -> int:
    """Those that are left make no block any more; at which height they stand."""
    until = time.monotonic() + 60
    height, since = -1, time.monotonic()
    while time.monotonic() - since < HALTED_SECONDS:
        assert time.monotonic() < until, "the chain goes on without a quorum"
        found = max(own.running.validators[index].height() or -1 for index in alive)
        if found != height:
            height, since = found, time.monotonic()
        time.sleep(0.1)
    return height


@pytest.mark.parametrize("victim", [0, 3], ids=["that-is-asked-first", "that-is-asked-last"])
def test_one_validator_killed_progress_goes_on_and_it_catches_up(
    own: Validators, load: Load, victim: int
) -> None:
    load.wait_for_more(10)
    own.running.kill(victim)
    others = [index for index in range(4) if index != victim]
    reached = max(own.running.validators[index].height() or 0 for index in others)
    load.wait_for_more(20)
    own.running.wait_for_height(reached + 5, indices=others)
    own.running.restart(victim)
    target = max(height for height in own.running.heights() if height is not None)
    own.running.wait_for_height(target, indices=[victim])
    load.wait_for_more(10)
    load.stop()
    require_each_once(load)
    require_one_history(own)


def test_two_validators_killed_halts_without_fork_and_queued_work_completes_once(
    own: Validators, load: Load
) -> None:
    load.wait_for_more(10)
    own.running.kill(2, 3)
    halted_at = require_halted(own, [0, 1])
    follower = Follower(load.chain, load.world.deployment, MemoryFollowStore())
    follower.advance()
    assert follower.view.checkpoint.block_number == halted_at
    before = len(load.acknowledged)
    sender = Sender(
        load.chain,
        load.world.administrator.address,
        load.world.administrator.sign_digest,
        MemoryOutbox(),
        timeout_seconds=120,
    )
    call = calls.set_member_roles(load.member.address, Role.AUDITOR.bit)
    queued = sender.submit(load.world.deployment.address, call, GAS)
    with pytest.raises(NotFinal, match="stays in the outbox"):
        sender.wait(queued, timeout_seconds=2)
    assert follower.advance() == 0
    own.running.launch(2)
    own.running.restart(3)
    own.running.wait_until_answers(2)
    assert sender.wait(queued).block_number > halted_at
    load.wait_for_more(10)
    load.stop()
    assert len(load.acknowledged) > before
    require_each_once(load)
    require_one_history(own)
    follower.advance()
    assert follower.state == load.world.state()


def test_all_validators_killed_at_once_under_load_lose_nothing_acknowledged(
    own: Validators, load: Load
) -> None:
    for _ in range(2):
        load.wait_for_more(15)
        heights = [height for height in own.running.heights() if height is not None]
        acknowledged = dict(load.acknowledged)
        state = load.world.state()
        own.running.kill()
        assert own.running.heights() == [None] * 4
        own.running.start()
        own.running.wait_for_height(max(heights))
        with Chain(own.running.rpc_urls[1], BFT) as chain:
            receipts = chain.receipts(list(acknowledged))
            assert [receipt and receipt.block_number for receipt in receipts] == list(acknowledged.values())
        assert set(state.members) <= set(load.world.state().members)
    load.wait_for_more(15)
    load.stop()
    require_each_once(load)
    require_one_history(own)


def test_pending_transactions_vanish_with_the_validators_and_the_outbox_sends_them_again(
    own: Validators,
) -> None:
    """What 30 of 635 accepted transactions did: accepted, in no block, gone. The outbox still has them."""
    world = through_all(own)
    key, chain, outbox = world.enrol(Role.CONSUMER), world.chain, MemoryOutbox()
    sender = Sender(chain, key.address, key.sign_digest, outbox, timeout_seconds=120)
    own.running.kill(2, 3)
    require_halted(own, [0, 1])
    submitted = []
    for version in range(2, 42):
        keys = world.member_keys(key, nonce=version, deadline=0)
        submitted.append(sender.submit(world.deployment.address, calls.change_member_keys(keys), GAS))
    assert len(outbox.pending()) == 40
    own.running.kill()
    own.running.start()
    # A node that was restarted too: it has the outbox and nothing else.
    again = Sender(chain, key.address, key.sign_digest, outbox, timeout_seconds=120)
    wait_until(lambda: resumed(again), "the validators take transactions again")
    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(again.wait, submitted))
    assert all(receipt.succeeded for receipt in receipts)
    assert outbox.pending() == []
    versions = [keys.version for keys in world.state().members[key.address].keys]
    assert versions == list(range(1, 42))
    assert world.chain.transaction_count(key.address) == 40
    require_one_history(own)
    world.close()


def test_validator_that_lost_its_peers_is_left_and_taken_back(own: Validators) -> None:
    """The endpoint that is asked first stands still while the others advance: it is not followed into the past."""
    world = through_all(own)
    chain = world.chain
    follower = Follower(chain, world.deployment, MemoryFollowStore())
    follower.advance()
    process = own.running.validators[0].background.process()
    assert process is not None
    process.suspend()
    try:
        reached = (own.running.validators[1].height() or 0) + 5
        own.running.wait_for_height(reached, indices=[1, 2, 3])
        deadline = time.monotonic() + 90
        while follower.view.checkpoint.block_number < reached:
            assert time.monotonic() < deadline, chain.problems()
            try:
                follower.advance()
            except LedgerError:
                continue
        assert any(own.running.rpc_urls[0] in problem for problem in chain.problems())
    finally:
        process.resume()
    deadline = time.monotonic() + 120
    while chain.problems():
        assert time.monotonic() < deadline, chain.problems()
        follower.advance()
        time.sleep(0.1)
    require_one_history(own)
    world.close()
