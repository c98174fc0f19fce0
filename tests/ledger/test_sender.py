"""Sending: concurrency, refusals, restarts, lost and blocked transactions, on real chains of their own."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from chain_fixtures import NODE_MODULES, Key, LedgerWorld
from lying_endpoint import LyingEndpoint
from node_processes import PATIENCE_SECONDS, wait_until
from outbox_behaviour import OutboxBehaviour

from ledger import calls
from ledger.anvil import Anvil, find_anvil
from ledger.blocks import Receipt
from ledger.chain import Chain
from ledger.engine import ANVIL
from ledger.errors import (
    ChainUnreachable,
    ContractRefused,
    InvalidMessage,
    NotFinal,
    RpcRefused,
    TransactionLost,
)
from ledger.messages import Revocation
from ledger.outbox import MemoryOutbox, Outbox
from ledger.sender import FILLERS_AT_ONCE, Sender, Submission
from ledger.transactions import SignedTransaction, sign_transaction
from vocabulary import Role

GAS = 300_000


class SqliteOutbox:
    """A durable outbox for the tests that kill: one row a transaction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._database.execute(
            "create table if not exists outbox (nonce integer, hash blob unique, raw blob)"
        )

    def add(self, nonce: int, transaction_hash: bytes, raw: bytes) -> None:
        with self._lock:
            self._database.execute(
                "insert or ignore into outbox values (?, ?, ?)", (nonce, transaction_hash, raw)
            )

    def pending(self) -> list[SignedTransaction]:
        with self._lock:
            rows = self._database.execute(
                "select nonce, hash, raw from outbox order by nonce, rowid"
            ).fetchall()
        return [SignedTransaction(*row) for row in rows]

    def done(self, transaction_hash: bytes) -> None:
        with self._lock:
            self._database.execute("delete from outbox where hash = ?", (transaction_hash,))


class TestSqliteOutbox(OutboxBehaviour):
    @pytest.fixture
    def outbox(self, tmp_path: Path) -> Outbox:
        return SqliteOutbox(tmp_path / "outbox.db")


@pytest.fixture
def own_anvil(tmp_path: Path) -> Iterator[Anvil]:
    """A chain of its own, which the test may stop, kill and keep from mining."""
    with Anvil(tmp_path / "chain", binary=find_anvil(NODE_MODULES), block_seconds=None) as running:
        yield running


@pytest.fixture
def own_world(own_anvil: Anvil) -> Iterator[LedgerWorld]:
    world = LedgerWorld(own_anvil)
    yield world
    world.close()


def sender(world: LedgerWorld, key: Key, outbox: Outbox | None = None, **options: float) -> Sender:
    quick = {"timeout_seconds": 60.0, "resend_seconds": 0.05, "lost_after_seconds": 0.1} | options
    return Sender(world.chain, key.address, key.sign_digest, outbox or MemoryOutbox(), **quick)


def mining(world: LedgerWorld, on: bool) -> None:
    world.chain.request("evm_setAutomine", [on])


def transactions_of(chain: Chain, key: Key) -> list[tuple[int, str]]:
    """Nonce and hash of each mined transaction of an account, from the blocks themselves."""
    found = []
    for number in range(chain.final_block().number + 1):
        block = chain.request("eth_getBlockByNumber", [hex(number), True])
        for one in block["transactions"]:
            if one["from"] == "0x" + key.address.hex():
                found.append((int(one["nonce"], 16), one["hash"]))
    return sorted(found)


def toggle(world: LedgerWorld, member: Key, active: bool) -> bytes:
    return calls.set_member_active(member.address, active)


def test_send_from_many_threads_lands_each_once_without_gaps(own_world: LedgerWorld) -> None:
    member, outbox = own_world.enrol(Role.CONSUMER), MemoryOutbox()
    first = own_world.chain.transaction_count(own_world.administrator.address)
    sending = sender(own_world, own_world.administrator, outbox)

    def one(number: int) -> bytes:
        call = calls.set_member_roles(member.address, number % 32)
        return sending.send(own_world.deployment.address, call).transaction_hash

    with ThreadPoolExecutor(16) as pool:
        hashes = list(pool.map(one, range(200)))
    mined = transactions_of(own_world.chain, own_world.administrator)
    assert [nonce for nonce, _ in mined] == list(range(first + 200))
    assert {hash_ for _, hash_ in mined[first:]} == {"0x" + hash_.hex() for hash_ in hashes}
    assert len(set(hashes)) == 200
    assert outbox.pending() == []


def test_send_of_what_the_contract_refuses_costs_nothing(own_world: LedgerWorld) -> None:
    outsider, outbox = Key.new(), MemoryOutbox()
    sending = sender(own_world, outsider, outbox)
    with pytest.raises(ContractRefused) as refused:
        sending.send(own_world.deployment.address, calls.seal(b"\x01" * 20))
    assert refused.value.error_name == "NotAdministrator"
    assert outbox.pending() == []
    assert own_world.chain.transaction_count(outsider.address) == 0


def test_send_of_what_the_chain_refuses_gives_the_nonce_back(own_world: LedgerWorld) -> None:
    member, outbox = own_world.enrol(Role.CONSUMER), MemoryOutbox()
    sending = sender(own_world, own_world.administrator, outbox)
    first = own_world.chain.transaction_count(own_world.administrator.address)
    with pytest.raises(RpcRefused, match="gas"):
        sending.submit(own_world.deployment.address, toggle(own_world, member, False), gas=20_000)
    assert outbox.pending() == []
    submitted = sending.submit(own_world.deployment.address, toggle(own_world, member, False))
    assert submitted.nonce == first
    assert sending.wait(submitted).succeeded


def test_mined_and_reverted_transaction_is_raised_with_the_contracts_error(own_world: LedgerWorld) -> None:
    patient, relayer = Key.new(), Key.new()
    revocation = Revocation(patient.address, relayer.address, bytes(32), 1)
    call = calls.revoke(revocation, own_world.sign(patient, revocation))
    sending = sender(own_world, relayer)
    mining(own_world, False)
    both = [sending.submit(own_world.deployment.address, call, gas=GAS) for _ in range(2)]
    own_world.anvil.mine()
    assert sending.wait(both[0]).succeeded
    with pytest.raises(ContractRefused) as refused:
        sending.wait(both[1])
    assert refused.value.error_name == "AlreadyRevoked"


def test_wait_for_what_is_not_mined_in_time_keeps_it_in_the_outbox(own_world: LedgerWorld) -> None:
    member, outbox = own_world.enrol(Role.CONSUMER), MemoryOutbox()
    sending = sender(own_world, own_world.administrator, outbox)
    mining(own_world, False)
    submitted = sending.submit(own_world.deployment.address, toggle(own_world, member, False))
    with pytest.raises(NotFinal, match="stays in the outbox"):
        sending.wait(submitted, timeout_seconds=0.2)
    assert [entry.hash for entry in outbox.pending()] == [submitted.transaction_hash]
    own_world.anvil.mine()
    assert sending.wait(submitted).succeeded
    assert outbox.pending() == []


def test_submit_beyond_the_limit_in_flight_waits_for_room(own_anvil: Anvil, own_world: LedgerWorld) -> None:
    member = own_world.enrol(Role.CONSUMER)
    key, engine = own_world.administrator, replace(ANVIL, max_in_flight=3)
    with Chain(own_anvil.url, engine) as chain:
        sending = Sender(chain, key.address, key.sign_digest, MemoryOutbox(), timeout_seconds=0.3)
        mining(own_world, False)
        for _ in range(3):
            sending.submit(own_world.deployment.address, toggle(own_world, member, False), gas=GAS)
        with pytest.raises(NotFinal, match="does the chain make blocks"):
            sending.submit(own_world.deployment.address, toggle(own_world, member, False), gas=GAS)
        own_world.anvil.mine()
        sending.submit(own_world.deployment.address, toggle(own_world, member, False), gas=GAS)


def journalled(world: LedgerWorld, key: Key, nonce: int, data: bytes) -> SignedTransaction:
    """What a process signed and journalled before it died."""
    return sign_transaction(
        chain_id=world.chain.chain_id(),
        nonce=nonce,
        gas_price_wei=0,
        gas=GAS,
        to=world.deployment.address,
        data=data,
        sender=key.address,
        sign_digest=key.sign_digest,
    )


def test_resume_after_a_crash_before_sending_lands_the_same_bytes_once(own_world: LedgerWorld) -> None:
    member, key, outbox = own_world.enrol(Role.CONSUMER), own_world.administrator, MemoryOutbox()
    nonce = own_world.chain.transaction_count(key.address)
    entry = journalled(own_world, key, nonce, toggle(own_world, member, False))
    outbox.add(entry.nonce, entry.hash, entry.raw)
    for _ in range(3):
        sending = sender(own_world, key, outbox)
        sending.resume()
        assert sending.wait(entry.hash).succeeded
    assert transactions_of(own_world.chain, key)[nonce:] == [(nonce, "0x" + entry.hash.hex())]
    assert sender(own_world, key, outbox).resume() == []


def test_resume_takes_what_another_owner_journalled_after_the_sender_was_made(own_world: LedgerWorld) -> None:
    """A standby is made while the running process still writes to the outbox."""
    member, key, outbox = own_world.enrol(Role.CONSUMER), own_world.administrator, MemoryOutbox()
    standby = sender(own_world, key, outbox)
    nonce = own_world.chain.transaction_count(key.address)
    entry = journalled(own_world, key, nonce, toggle(own_world, member, False))
    outbox.add(entry.nonce, entry.hash, entry.raw)
    assert standby.resume() == [entry.hash]
    assert standby.wait(entry.hash).succeeded


def test_resume_after_a_crash_after_mining_sends_nothing(own_world: LedgerWorld) -> None:
    member, key, outbox = own_world.enrol(Role.CONSUMER), own_world.administrator, MemoryOutbox()
    nonce = own_world.chain.transaction_count(key.address)
    entry = journalled(own_world, key, nonce, toggle(own_world, member, False))
    outbox.add(entry.nonce, entry.hash, entry.raw)
    own_world.chain.send_raw(entry.raw)
    wait_until(lambda: own_world.chain.receipt(entry.hash) is not None, "the transaction is mined")
    assert sender(own_world, key, outbox).resume() == []
    assert outbox.pending() == []
    assert own_world.chain.transaction_count(key.address) == nonce + 1


def test_transactions_lost_by_a_power_cut_of_the_chain_are_sent_again(own_world: LedgerWorld) -> None:
    member, key, outbox = own_world.enrol(Role.CONSUMER), own_world.administrator, MemoryOutbox()
    own_world.anvil.save()
    sending = sender(own_world, key, outbox)
    mining(own_world, False)
    several = [
        sending.submit(own_world.deployment.address, calls.set_member_roles(member.address, n), gas=GAS)
        for n in range(5)
    ]
    own_world.anvil.kill()
    own_world.anvil.start()
    restarted = sender(own_world, key, outbox)
    restarted.resume()
    assert all(restarted.wait(one).succeeded for one in several)
    assert own_world.state().members[member.address].roles == 4
    nonces = [nonce for nonce, _ in transactions_of(own_world.chain, key)]
    assert nonces == list(range(len(nonces)))


def test_gap_left_in_the_numbers_does_not_block_those_behind(own_world: LedgerWorld) -> None:
    member, key, outbox = own_world.enrol(Role.CONSUMER), own_world.administrator, MemoryOutbox()
    nonce = own_world.chain.transaction_count(key.address)
    behind = journalled(own_world, key, nonce + 2, toggle(own_world, member, False))
    outbox.add(behind.nonce, behind.hash, behind.raw)
    sending = sender(own_world, key, outbox)
    sending.resume()
    assert sending.wait(behind.hash).succeeded
    assert outbox.pending() == []


def test_transaction_the_chain_no_longer_takes_does_not_block_those_behind(own_world: LedgerWorld) -> None:
    member, key, outbox = own_world.enrol(Role.CONSUMER), own_world.administrator, MemoryOutbox()
    nonce = own_world.chain.transaction_count(key.address)
    refused = sign_transaction(
        chain_id=own_world.chain.chain_id(),
        nonce=nonce,
        gas_price_wei=0,
        gas=1_000,  # below the intrinsic cost: refused by every node
        to=own_world.deployment.address,
        data=toggle(own_world, member, True),
        sender=key.address,
        sign_digest=key.sign_digest,
    )
    behind = journalled(own_world, key, nonce + 1, toggle(own_world, member, False))
    for entry in (refused, behind):
        outbox.add(entry.nonce, entry.hash, entry.raw)
    sending = sender(own_world, key, outbox)
    sending.resume()
    assert sending.wait(behind.hash).succeeded
    with pytest.raises(TransactionLost):
        sending.wait(refused.hash)
    assert outbox.pending() == []


@pytest.mark.parametrize("loses_newest_blocks", [False, True])
def test_gaps_that_an_understated_count_pretends_are_filled_at_most_in_small_numbers(
    own_world: LedgerWorld, loses_newest_blocks: bool
) -> None:
    member, key = own_world.enrol(Role.CONSUMER), own_world.administrator
    endpoint = LyingEndpoint(own_world.chain.url)
    engine = replace(ANVIL, loses_newest_blocks=loses_newest_blocks)
    outbox = MemoryOutbox()
    try:
        with Chain(endpoint.url, engine) as chain:
            sending = Sender(
                chain, key.address, key.sign_digest, outbox, resend_seconds=1e9, lost_after_seconds=0.0
            )
            for number in range(2 * FILLERS_AT_ONCE):
                sending.submit(
                    own_world.deployment.address, calls.set_member_roles(member.address, number % 32), gas=GAS
                )
            last = sending.submit(own_world.deployment.address, toggle(own_world, member, False), gas=GAS)
            assert sending.wait(last, timeout_seconds=60).succeeded
            mining(own_world, False)
            waiting = sending.submit(own_world.deployment.address, toggle(own_world, member, True), gas=GAS)
            endpoint.lie("eth_getTransactionCount", lambda _, __: "0x0")
            signed = []
            outbox.add = lambda nonce, *rest: signed.append(nonce)  # type: ignore[method-assign]
            sending.resume()
            assert len(signed) <= (FILLERS_AT_ONCE if loses_newest_blocks else 0)
            assert waiting.nonce not in signed
    finally:
        endpoint.close()


def test_transaction_whose_nonce_another_took_is_lost_and_said_so(own_world: LedgerWorld) -> None:
    member, key, outbox = own_world.enrol(Role.CONSUMER), own_world.administrator, MemoryOutbox()
    nonce = own_world.chain.transaction_count(key.address)
    entry = journalled(own_world, key, nonce, toggle(own_world, member, False))
    outbox.add(entry.nonce, entry.hash, entry.raw)
    own_world.chain.send_raw(journalled(own_world, key, nonce, toggle(own_world, member, True)).raw)
    sending = sender(own_world, key, outbox)
    with pytest.raises(TransactionLost, match="can never land"):
        sending.wait(entry.hash)
    assert outbox.pending() == []


def test_landed_transaction_of_which_the_receipt_is_not_shown_is_never_called_lost(
    own_world: LedgerWorld,
) -> None:
    """An endpoint's index of receipts may stop while its blocks go on."""
    member, key, outbox = own_world.enrol(Role.CONSUMER), own_world.administrator, MemoryOutbox()
    endpoint = LyingEndpoint(own_world.chain.url)
    try:
        with Chain(endpoint.url, ANVIL) as chain:
            sending = Sender(
                chain, key.address, key.sign_digest, outbox, resend_seconds=0.05, lost_after_seconds=0.1
            )
            for method in ("eth_getTransactionReceipt", "eth_getTransactionByHash"):
                endpoint.lie(method, lambda _, __: None)
            submitted = sending.submit(own_world.deployment.address, toggle(own_world, member, False))
            with pytest.raises(NotFinal):
                sending.wait(submitted, timeout_seconds=3)
            endpoint.refuse("eth_getBlockByNumber", "transaction index is not there")
            with pytest.raises(NotFinal):
                sending.wait(submitted, timeout_seconds=3)
            endpoint.honest()
            assert sending.wait(submitted, timeout_seconds=60).succeeded
    finally:
        endpoint.close()
    assert outbox.pending() == []


def test_attack_endpoint_names_another_chain_id_gets_no_signature_for_it(own_world: LedgerWorld) -> None:
    member, key = own_world.enrol(Role.CONSUMER), own_world.administrator
    endpoint = LyingEndpoint(own_world.chain.url)
    try:
        endpoint.lie("eth_chainId", lambda _, __: "0x1")
        with Chain(endpoint.url, ANVIL) as chain:
            own = own_world.deployment.chain_id
            sending = Sender(chain, key.address, key.sign_digest, MemoryOutbox(), chain_id=own)
            assert sending.send(own_world.deployment.address, toggle(own_world, member, False)).succeeded
    finally:
        endpoint.close()


def test_key_used_elsewhere_meanwhile_is_numbered_anew(own_world: LedgerWorld) -> None:
    member, key = own_world.enrol(Role.CONSUMER), own_world.administrator
    one, other = sender(own_world, key), sender(own_world, key)
    call = toggle(own_world, member, False)
    for _ in range(3):
        assert one.send(own_world.deployment.address, call).succeeded
        assert other.send(own_world.deployment.address, call).succeeded


def test_submit_while_the_chain_is_away_lands_when_it_is_back(own_world: LedgerWorld) -> None:
    member, key, outbox = own_world.enrol(Role.CONSUMER), own_world.administrator, MemoryOutbox()
    sending = sender(own_world, key, outbox)
    assert sending.send(own_world.deployment.address, toggle(own_world, member, False)).succeeded
    own_world.anvil.stop()
    submitted = sending.submit(own_world.deployment.address, toggle(own_world, member, True), gas=GAS)
    with pytest.raises(NotFinal):
        sending.wait(submitted, timeout_seconds=0.1)
    with pytest.raises(ChainUnreachable):
        sending.resume()
    own_world.anvil.start()
    assert sending.wait(submitted).succeeded
    assert own_world.state().members[member.address].active


def test_sender_with_the_key_of_another_account_signs_nothing(own_world: LedgerWorld) -> None:
    key, other, outbox = Key.new(), Key.new(), MemoryOutbox()
    sending = Sender(own_world.chain, key.address, other.sign_digest, outbox)
    with pytest.raises(InvalidMessage, match="does not hold the key"):
        sending.submit(own_world.deployment.address, b"", gas=GAS)
    assert outbox.pending() == []


CRASHING = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from chain_fixtures import Key
from test_sender import SqliteOutbox
from ledger import calls
from ledger.chain import Chain
from ledger.engine import ANVIL
from ledger.sender import Sender
_, _, here, url, contract, member, secret, path = sys.argv
key = Key.new(bytes.fromhex(secret))
sender = Sender(Chain(url, ANVIL), key.address, key.sign_digest, SqliteOutbox(Path(path)))
sender.resume()
def one(number):
    receipt = sender.send(bytes.fromhex(contract), calls.set_member_roles(bytes.fromhex(member), number % 32))
    # In one piece: print writes the end of the line apart, and other threads' lines get between.
    sys.stdout.write(receipt.transaction_hash.hex() + "\\n")
    sys.stdout.flush()
with ThreadPoolExecutor(4) as pool:
    list(pool.map(one, range(10_000)))
"""


def test_sender_killed_again_and_again_lands_each_journalled_transaction_once(
    own_world: LedgerWorld, tmp_path: Path
) -> None:
    member, key = own_world.enrol(Role.CONSUMER), own_world.administrator
    path, acknowledged = tmp_path / "outbox.db", set()
    here = Path(__file__).parent
    program = CRASHING.replace("sys.path.insert(0, sys.argv[1])", "sys.path[:0] = sys.argv[1:3]")
    for kill_after in (1, 7, 20):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(here.parent / "support"), str(here), own_world.chain.url,
             own_world.deployment.address.hex(), member.address.hex(), key.secret.hex(), str(path)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        assert process.stdout is not None
        for _ in range(kill_after):
            line = process.stdout.readline()
            assert line, "the sending process ended by itself"
            acknowledged.add("0x" + line.strip())
        process.send_signal(signal.SIGKILL)
        acknowledged |= {"0x" + line.strip() for line in process.stdout if line.endswith("\n")}
        process.wait()
    outbox = SqliteOutbox(path)
    sending = sender(own_world, key, outbox)
    left = {entry.hash for entry in outbox.pending()}
    for hash_ in sending.resume():
        assert sending.wait(hash_).succeeded
    assert outbox.pending() == []
    mined = transactions_of(own_world.chain, key)
    assert [nonce for nonce, _ in mined] == list(range(len(mined)))
    assert acknowledged | {"0x" + hash_.hex() for hash_ in left} <= {hash_ for _, hash_ in mined}


def test_waiting_threads_share_one_look_for_receipts(own_world: LedgerWorld) -> None:
    """100 waiting threads must not each ask the chain: that would stop it."""
    member, key = own_world.enrol(Role.CONSUMER), own_world.administrator
    sending = sender(own_world, key)
    mining(own_world, False)
    several = [
        sending.submit(own_world.deployment.address, toggle(own_world, member, True), gas=GAS)
        for _ in range(60)
    ]
    asked: list[int] = []
    mined, original = threading.Event(), own_world.chain.receipts

    def receipts(hashes: Sequence[bytes]) -> list[Receipt | None]:
        asked.append(len(hashes))
        assert mined.wait(PATIENCE_SECONDS)
        return original(hashes)

    own_world.chain.receipts = receipts  # type: ignore[method-assign]
    together = threading.Barrier(60)

    def wait(one: Submission) -> Receipt:
        together.wait(PATIENCE_SECONDS)
        return sending.wait(one)

    with ThreadPoolExecutor(60) as pool:
        waits = [pool.submit(wait, one) for one in several]
        wait_until(lambda: bool(asked), "one of them looks")
        own_world.anvil.mine()
        mined.set()
        assert all(wait.result().succeeded for wait in waits)
    assert asked == [60]
