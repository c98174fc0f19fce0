"""One chain through four endpoints of which one fails, falls behind or lies: what is taken in stays the truth."""

import copy
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chain_fixtures import NODE_MODULES, Key, LedgerWorld
from eth_hash.auto import keccak
from lying_endpoint import LyingEndpoint

from ledger import calls
from ledger.anvil import Anvil, find_anvil
from ledger.blocks import Receipt
from ledger.chain import Chain
from ledger.confirmed_heads import REVIEW_SECONDS
from ledger.endpoint import EXCLUDED_SECONDS, REST_SECONDS
from ledger.endpoints import Endpoints, connect
from ledger.engine import ANVIL
from ledger.errors import (
    BlockUnknown,
    ChainReplaced,
    ChainUnreachable,
    ContractRefused,
    EndpointsDisagree,
)
from ledger.follow import Follower, MemoryFollowStore
from ledger.messages import NO_RECORD, Revocation
from ledger.outbox import MemoryOutbox
from ledger.sender import Sender
from ledger.transactions import sign_transaction
from vocabulary import Role

FIRST_AND_SECOND = pytest.mark.parametrize("liar", [0, 1], ids=["asked-first", "confirming"])


LONG_SECONDS = 120.0
"""A call that is waited for to its end: a test in which one is must fail."""
UNHURRIED = dict.fromkeys(
    ("timeout_seconds", "call_seconds", "hedge_seconds", "patience_seconds"), LONG_SECONDS
)


class Clock:
    """A monotonic clock that tests move on."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds

    def pass_seconds(self, seconds: float) -> None:
        self.seconds += seconds


class Consortium:
    """A ledger, four endpoints before its chain, and a follower through all four."""

    def __init__(self, world: LedgerWorld, count: int = 4) -> None:
        self.world, self.clock = world, Clock()
        self.endpoints = [LyingEndpoint(world.chain.url) for _ in range(count)]
        self.chain = self.connect()
        self.store = MemoryFollowStore()
        self.follower = Follower(self.chain, world.deployment, self.store)

    def connect(self, **options: Any) -> Endpoints:
        """Through all four; however busy this machine is, who is honest is in time."""
        urls = [endpoint.url for endpoint in self.endpoints]
        return Endpoints(urls, ANVIL, self.world.deployment, **{"clock": self.clock, **UNHURRIED, **options})

    def happen(self) -> tuple[Key, Key]:
        """A provider with a patient, and a consent that is granted and revoked."""
        world = self.world
        provider = world.enrol(Role.PROVIDER, Role.CONSUMER)
        patient = world.register(provider)
        terms = world.grant(patient, provider)
        revocation = Revocation(patient.address, provider.address, NO_RECORD, terms.nonce)
        world.transact(provider, calls.revoke(revocation, world.sign(patient, revocation)))
        return provider, patient

    def require_truth(self) -> None:
        """The follower has the chain's whole history and no other."""
        self.follower.advance()
        assert self.follower.state == self.world.state()
        assert self.store.events == self.world.events()
        final = self.world.chain.final_block()
        assert self.follower.view.checkpoint.block_hash == final.hash

    def require_named(self, liar: int) -> None:
        """The liar, and nobody else, is named as one that is not asked; of two, the other one is believed alone."""
        problem, *alone = self.chain.problems()
        assert self.endpoints[liar].url in problem
        assert len(alone) == (len(self.endpoints) == 2)

    def close(self) -> None:
        self.chain.close()
        for endpoint in self.endpoints:
            endpoint.close()


@pytest.fixture(scope="session")
def chain_host(anvil: Anvil) -> Anvil:
    """These tests hold the chain still: validators that fail or lie are in tests/network."""
    return anvil


@pytest.fixture
def new_consortium(new_ledger: Callable[[], LedgerWorld]) -> Iterator[Callable[..., Consortium]]:
    made: list[Consortium] = []

    def make(count: int = 4) -> Consortium:
        made.append(Consortium(new_ledger(), count))
        return made[-1]

    yield make
    for consortium in made:
        consortium.close()


@pytest.fixture
def consortium(new_consortium: Callable[..., Consortium]) -> Consortium:
    return new_consortium()


def test_advance_all_honest_takes_in_the_history_and_names_nobody(consortium: Consortium) -> None:
    consortium.happen()
    consortium.require_truth()
    consortium.happen()
    consortium.require_truth()
    assert consortium.chain.problems() == ()


def test_advance_all_honest_asks_two_for_logs_and_no_more(consortium: Consortium) -> None:
    consortium.happen()
    consortium.require_truth()
    asked = [endpoint.asked.count("eth_getLogs") for endpoint in consortium.endpoints]
    assert asked == [1, 1, 0, 0]


@FIRST_AND_SECOND
def test_advance_endpoint_down_fails_over_and_returns_when_it_is_back(
    consortium: Consortium, liar: int
) -> None:
    consortium.happen()
    consortium.require_truth()
    consortium.endpoints[liar].down()
    consortium.happen()
    consortium.require_truth()
    consortium.require_named(liar)
    consortium.endpoints[liar].up()
    consortium.clock.pass_seconds(REST_SECONDS + 1)
    consortium.happen()
    consortium.require_truth()
    assert consortium.chain.problems() == ()


def test_advance_too_many_down_takes_in_nothing_and_says_how_many(consortium: Consortium) -> None:
    consortium.happen()
    consortium.require_truth()
    before = consortium.follower.view
    for endpoint in consortium.endpoints[:3]:
        endpoint.down()
    consortium.happen()
    with pytest.raises(
        ChainUnreachable, match="1 of the chain's 4 endpoints answer, and 2 must tell the same"
    ):
        consortium.follower.advance()
    assert consortium.follower.view == before
    consortium.endpoints[0].up()
    consortium.require_truth()


@FIRST_AND_SECOND
def test_advance_endpoint_hangs_is_left_after_its_time(consortium: Consortium, liar: int) -> None:
    consortium.chain.close()
    consortium.chain = consortium.connect(call_seconds=5.0)
    consortium.follower = Follower(consortium.chain, consortium.world.deployment, consortium.store)
    consortium.happen()
    consortium.require_truth()
    consortium.endpoints[liar].hang()
    consortium.happen()
    consortium.require_truth()
    consortium.require_named(liar)


@FIRST_AND_SECOND
@pytest.mark.parametrize("count", [2, 4])
def test_advance_endpoint_with_prompt_heads_hangs_on_logs_is_not_waited_for(
    new_consortium: Callable[..., Consortium], liar: int, count: int
) -> None:
    consortium = new_consortium(count)
    consortium.chain.close()
    consortium.chain = consortium.connect(hedge_seconds=3.0, patience_seconds=5.0)
    consortium.follower = Follower(consortium.chain, consortium.world.deployment, consortium.store)
    consortium.happen()
    consortium.require_truth()
    consortium.endpoints[liar].hang("eth_getLogs")
    consortium.happen()
    started = time.monotonic()
    consortium.require_truth()
    assert time.monotonic() - started < LONG_SECONDS / 2
    consortium.require_named(liar)


def test_advance_endpoint_hangs_again_after_each_rest_rests_longer_each_time(
    consortium: Consortium,
) -> None:
    consortium.chain.close()
    consortium.chain = consortium.connect(hedge_seconds=1.5)
    consortium.follower = Follower(consortium.chain, consortium.world.deployment, consortium.store)
    liar = consortium.endpoints[1]
    asked = []
    for _ in range(12):
        liar.hang("eth_getLogs")
        before = liar.asked.count("eth_getLogs")
        consortium.happen()
        consortium.require_truth()
        asked.append(liar.asked.count("eth_getLogs") > before)
        consortium.clock.pass_seconds(REST_SECONDS + 1)
        liar.honest()
    assert asked[0]
    assert sum(asked) < 6


def test_send_endpoint_lies_about_receipts_then_hangs_is_not_waited_for(consortium: Consortium) -> None:
    """Whoever is asked again because it told something else may not stop the others by silence."""
    world, liar = consortium.world, consortium.endpoints[0]
    consortium.chain.close()
    consortium.chain = consortium.connect(hedge_seconds=3.0, patience_seconds=5.0)

    def lie_once(parameters: list[Any], result: Any) -> Any:
        if liar.asked.count("eth_getTransactionReceipt") >= 2:
            liar.hang("eth_getTransactionReceipt")
        return result and {**result, "gasUsed": "0x1"}

    liar.lie("eth_getTransactionReceipt", lie_once)
    true = world.sender(world.administrator).send(world.deployment.address, _enrolment(consortium))
    started = time.monotonic()
    assert consortium.chain.receipt(true.transaction_hash) == true
    assert time.monotonic() - started < LONG_SECONDS / 2
    consortium.require_named(0)


@FIRST_AND_SECOND
@pytest.mark.parametrize(
    "content", [b"<html>", b'{"jsonrpc":"2.0","id":1,"result":7}', b"[]", b" " * 5_000_000], ids=len
)
def test_advance_malformed_or_huge_answers_are_worked_around(
    consortium: Consortium, liar: int, content: bytes
) -> None:
    consortium.chain.close()
    consortium.chain = consortium.connect(max_answer_bytes=1_000_000)
    consortium.follower = Follower(consortium.chain, consortium.world.deployment, consortium.store)
    consortium.endpoints[liar].send(content)
    consortium.happen()
    consortium.require_truth()
    consortium.require_named(liar)


def _without_last(parameters: list[Any], result: Any) -> Any:
    return result[:-1]


def _altered(parameters: list[Any], result: Any) -> Any:
    return [{**log, "topics": [*log["topics"][:-1], "0x" + "11" * 32]} for log in result]


def _invented(parameters: list[Any], result: Any) -> Any:
    if not result:
        return result
    more = copy.deepcopy(result[-1])
    more["logIndex"] = hex(int(more["logIndex"], 16) + 1)
    return [*result, more]


def _none(parameters: list[Any], result: Any) -> Any:
    return []


@FIRST_AND_SECOND
@pytest.mark.parametrize("lie", [_without_last, _none, _altered, _invented])
def test_advance_endpoint_lies_about_logs_is_named_and_worked_around(
    consortium: Consortium, liar: int, lie: Callable[[list[Any], Any], Any]
) -> None:
    consortium.endpoints[liar].lie("eth_getLogs", lie)
    consortium.happen()
    consortium.require_truth()
    consortium.require_named(liar)
    assert "logs of blocks" in consortium.chain.problems()[0]
    consortium.happen()
    consortium.require_truth()


def test_advance_liar_that_repents_is_asked_again(consortium: Consortium) -> None:
    consortium.endpoints[0].lie("eth_getLogs", _none)
    consortium.happen()
    consortium.require_truth()
    consortium.endpoints[0].honest()
    consortium.clock.pass_seconds(EXCLUDED_SECONDS + 1)
    consortium.happen()
    consortium.require_truth()
    assert consortium.chain.problems() == ()


def test_advance_two_against_two_takes_in_nothing_and_names_both_sides(consortium: Consortium) -> None:
    consortium.happen()
    consortium.require_truth()
    before = consortium.follower.view
    consortium.happen()
    for endpoint in consortium.endpoints[:2]:
        endpoint.lie("eth_getLogs", _without_last)
    consortium.endpoints[1].lie("eth_getLogs", _none)
    consortium.endpoints[0].honest()
    consortium.endpoints[2].lie("eth_getLogs", _none)
    with pytest.raises(EndpointsDisagree) as raised:
        consortium.follower.advance()
    assert all(endpoint.url in str(raised.value) for endpoint in consortium.endpoints)
    assert consortium.follower.view == before
    consortium.endpoints[1].honest()
    consortium.require_truth()


def test_advance_one_of_two_lies_takes_in_nothing(new_consortium: Callable[..., Consortium]) -> None:
    consortium = new_consortium(2)
    consortium.endpoints[1].lie("eth_getLogs", _without_last)
    consortium.happen()
    with pytest.raises(EndpointsDisagree):
        consortium.follower.advance()
    assert consortium.store.events == []


def test_advance_one_of_two_down_goes_on_with_the_other(new_consortium: Callable[..., Consortium]) -> None:
    consortium = new_consortium(2)
    consortium.endpoints[0].down()
    consortium.happen()
    consortium.require_truth()
    consortium.require_named(0)
    alone = consortium.chain.problems()[1]
    assert consortium.endpoints[1].url in alone
    assert "believed alone" in alone
    assert consortium.chain.believed_alone() == consortium.endpoints[1].url
    consortium.endpoints[0].up()
    consortium.clock.pass_seconds(REST_SECONDS + 1)
    consortium.happen()
    consortium.require_truth()
    assert (consortium.chain.problems(), consortium.chain.believed_alone()) == ((), None)


def test_advance_one_of_two_down_where_both_must_confirm_takes_in_nothing(
    new_consortium: Callable[..., Consortium],
) -> None:
    consortium = new_consortium(2)
    consortium.chain.close()
    consortium.chain = consortium.connect(confirmations=2)
    consortium.follower = Follower(consortium.chain, consortium.world.deployment, consortium.store)
    consortium.endpoints[0].down()
    consortium.happen()
    with pytest.raises(ChainUnreachable):
        consortium.follower.advance()
    assert consortium.store.events == []


@FIRST_AND_SECOND
def test_advance_endpoint_with_an_old_head_is_left(consortium: Consortium, liar: int) -> None:
    consortium.happen()
    consortium.require_truth()
    old = consortium.world.chain.request("eth_getBlockByNumber", ["latest", False])

    def stale(parameters: list[Any], result: Any) -> Any:
        return old if parameters[0] == "latest" else result

    consortium.endpoints[liar].lie("eth_getBlockByNumber", stale)
    consortium.happen()
    consortium.clock.pass_seconds(REVIEW_SECONDS + 1)
    consortium.require_truth()
    consortium.require_named(liar)
    assert "behind" in consortium.chain.problems()[0]


@FIRST_AND_SECOND
def test_advance_endpoint_that_invents_blocks_is_not_believed(consortium: Consortium, liar: int) -> None:
    consortium.happen()
    consortium.require_truth()

    def ahead(parameters: list[Any], result: Any) -> Any:
        if parameters[0] == "latest":
            number = hex(int(result["number"], 16) + 1_000)
            return {**result, "number": number, "hash": "0x" + "ab" * 32}
        return result

    consortium.endpoints[liar].lie("eth_getBlockByNumber", ahead)
    consortium.happen()
    consortium.require_truth()
    for _ in range(2):
        consortium.clock.pass_seconds(REVIEW_SECONDS + 1)
        consortium.require_truth()
    consortium.require_named(liar)


@FIRST_AND_SECOND
def test_advance_endpoint_with_another_block_at_the_head_is_named(consortium: Consortium, liar: int) -> None:
    def forked(parameters: list[Any], result: Any) -> Any:
        return {**result, "hash": "0x" + "cd" * 32} if result and parameters[0] != "0x0" else result

    consortium.happen()
    consortium.endpoints[liar].lie("eth_getBlockByNumber", forked)
    consortium.require_truth()
    consortium.require_named(liar)


@FIRST_AND_SECOND
def test_advance_endpoint_denies_what_was_taken_in_is_excluded(consortium: Consortium, liar: int) -> None:
    consortium.happen()
    consortium.require_truth()
    held = hex(consortium.follower.view.checkpoint.block_number)

    def denies(parameters: list[Any], result: Any) -> Any:
        if parameters[0] == held:
            return {**result, "hash": "0x" + "ef" * 32}
        return {**result, "parentHash": "0x" + "ef" * 32} if parameters[0] == "latest" else result

    consortium.endpoints[liar].lie("eth_getBlockByNumber", denies)
    consortium.happen()
    consortium.require_truth()
    consortium.require_named(liar)
    assert "taken in before" in consortium.chain.problems()[0]


@pytest.fixture
def other_chain(tmp_path: Path) -> Iterator[Anvil]:
    with Anvil(
        tmp_path / "other", binary=find_anvil(NODE_MODULES), block_seconds=None, genesis_time=1
    ) as one:
        yield one


def put_on(other: Anvil, consortium: Consortium, endpoints: list[LyingEndpoint]) -> None:
    """Endpoints whose upstream is another chain now, which is as long as the true one."""
    with other.chain() as chain:
        missing = consortium.world.chain.final_block().number + 5 - chain.final_block().number
    if missing > 0:
        other.mine(missing)
    for endpoint in endpoints:
        endpoint.upstream = other.url


@FIRST_AND_SECOND
def test_advance_endpoint_of_another_chain_is_named_and_never_used(
    consortium: Consortium, liar: int, other_chain: Anvil
) -> None:
    put_on(other_chain, consortium, [consortium.endpoints[liar]])
    consortium.happen()
    consortium.require_truth()
    consortium.require_named(liar)
    assert "is another one" in consortium.chain.problems()[0]


def test_advance_every_endpoint_on_another_chain_is_fatal(consortium: Consortium, other_chain: Anvil) -> None:
    consortium.happen()
    consortium.require_truth()
    put_on(other_chain, consortium, consortium.endpoints)
    with pytest.raises(ChainReplaced):
        consortium.follower.advance()


def test_advance_others_replaced_and_the_last_one_down_waits_for_it(
    consortium: Consortium, other_chain: Anvil
) -> None:
    consortium.happen()
    consortium.require_truth()
    put_on(other_chain, consortium, consortium.endpoints[:3])
    consortium.endpoints[3].down()
    with pytest.raises(ChainUnreachable):
        consortium.follower.advance()
    with pytest.raises(ChainUnreachable):
        consortium.follower.advance()


def test_restart_held_to_what_the_store_has_leaves_the_endpoint_that_denies_it(
    consortium: Consortium, other_chain: Anvil
) -> None:
    consortium.happen()
    consortium.require_truth()
    put_on(other_chain, consortium, consortium.endpoints[:1])
    consortium.chain.close()
    consortium.chain = consortium.connect()
    consortium.follower = Follower(consortium.chain, consortium.world.deployment, consortium.store)
    consortium.happen()
    consortium.require_truth()
    consortium.require_named(0)


def _sender(consortium: Consortium, key: Key) -> Sender:
    return Sender(
        consortium.chain, key.address, key.sign_digest, MemoryOutbox(), timeout_seconds=60, resend_seconds=0.1
    )


def _enrolment(consortium: Consortium) -> bytes:
    world, member = consortium.world, Key.new()
    keys = world.member_keys(member)
    return calls.enrol_member(keys, Role.PROVIDER.bit, world.sign(member, keys))


@FIRST_AND_SECOND
@pytest.mark.parametrize(
    "change", [{"status": "0x0"}, {"gasUsed": "0x1"}, {"blockNumber": "0x1"}, {"logs": []}], ids=str
)
def test_send_endpoint_lies_about_the_receipt_is_named_and_worked_around(
    consortium: Consortium, liar: int, change: dict[str, Any]
) -> None:
    consortium.endpoints[liar].lie(
        "eth_getTransactionReceipt", lambda _, result: result and {**result, **change}
    )
    sender = _sender(consortium, consortium.world.administrator)
    receipt = sender.send(consortium.world.deployment.address, _enrolment(consortium))
    assert receipt == consortium.world.chain.receipt(receipt.transaction_hash)
    assert receipt.succeeded
    consortium.require_named(liar)


def test_send_endpoint_invents_a_receipt_is_not_believed(consortium: Consortium) -> None:
    world, key = consortium.world, Key.new()
    true = world.sender(world.administrator).send(world.deployment.address, _enrolment(consortium))
    model = world.chain.request("eth_getTransactionReceipt", ["0x" + true.transaction_hash.hex()])
    never_sent = sign_transaction(
        chain_id=world.scope.chain_id,
        nonce=0,
        gas_price_wei=0,
        gas=21_000,
        to=key.address,
        data=b"",
        sender=key.address,
        sign_digest=key.sign_digest,
    )

    def invent(parameters: list[Any], result: Any) -> Any:
        return {**model, "transactionHash": parameters[0]}

    consortium.endpoints[0].lie("eth_getTransactionReceipt", invent)
    Anvil.mine(world.anvil)
    assert consortium.chain.receipt(never_sent.hash) is None
    consortium.require_named(0)


def _invents_future_receipts(consortium: Consortium, liar: int, *, and_heads: bool) -> tuple[Receipt, bytes]:
    """A transaction that landed, and the hash of one that did not, of which the liar shows a receipt nevertheless."""
    world = consortium.world
    true = world.sender(world.administrator).send(world.deployment.address, _enrolment(consortium))
    model = world.chain.request("eth_getTransactionReceipt", ["0x" + true.transaction_hash.hex()])

    def invent(parameters: list[Any], result: Any) -> Any:
        return result or {**model, "transactionHash": parameters[0], "blockNumber": hex(2**40)}

    def ahead(parameters: list[Any], result: Any) -> Any:
        return {**result, "number": hex(2**41)} if parameters[0] == "latest" else result

    consortium.endpoints[liar].lie("eth_getTransactionReceipt", invent)
    if and_heads:
        consortium.endpoints[liar].lie("eth_getBlockByNumber", ahead)
    return true, secrets.token_bytes(32)


@FIRST_AND_SECOND
def test_receipts_endpoint_invents_one_of_a_block_beyond_its_own_head_is_named_and_worked_around(
    consortium: Consortium, liar: int
) -> None:
    true, waiting = _invents_future_receipts(consortium, liar, and_heads=False)
    consortium.clock.pass_seconds(REVIEW_SECONDS)
    assert consortium.chain.receipts([waiting, true.transaction_hash]) == [None, true]
    consortium.require_named(liar)


@FIRST_AND_SECOND
def test_receipts_endpoint_invents_blocks_and_receipts_in_them_is_worked_around(
    consortium: Consortium, liar: int
) -> None:
    consortium.chain.final_block()
    true, waiting = _invents_future_receipts(consortium, liar, and_heads=True)
    for _ in range(3):
        consortium.clock.pass_seconds(REVIEW_SECONDS + 1)
        assert consortium.chain.receipts([waiting, true.transaction_hash]) == [None, true]
        consortium.chain.final_block()
    consortium.require_named(liar)


def test_send_endpoint_swallows_transactions_and_invents_their_receipts_lands_through_the_others(
    consortium: Consortium,
) -> None:
    world = consortium.world
    _invents_future_receipts(consortium, 0, and_heads=False)
    consortium.endpoints[0].swallow(
        "eth_sendRawTransaction", lambda parameters: "0x" + keccak(bytes.fromhex(parameters[0][2:])).hex()
    )
    sender = _sender(consortium, world.administrator)
    assert sender.send(world.deployment.address, _enrolment(consortium)).succeeded
    consortium.require_named(0)


def test_send_endpoint_keeps_receipts_to_itself_is_worked_around(consortium: Consortium) -> None:
    world = consortium.world
    consortium.endpoints[0].lie("eth_getTransactionReceipt", lambda _, __: None)
    sender = _sender(consortium, world.administrator)
    submitted = sender.submit(world.deployment.address, _enrolment(consortium))
    assert consortium.chain.receipt(submitted.transaction_hash) is None
    world.anvil.mine()
    consortium.clock.pass_seconds(REVIEW_SECONDS)
    assert sender.wait(submitted).succeeded
    consortium.require_named(0)


def test_send_endpoint_swallows_transactions_lands_through_the_others(consortium: Consortium) -> None:
    world = consortium.world
    consortium.endpoints[0].swallow(
        "eth_sendRawTransaction", lambda parameters: "0x" + keccak(bytes.fromhex(parameters[0][2:])).hex()
    )
    sender = _sender(consortium, world.administrator)
    assert sender.send(world.deployment.address, _enrolment(consortium)).succeeded


def test_send_endpoint_refuses_everything_is_worked_around(consortium: Consortium) -> None:
    world = consortium.world
    for method in ("eth_sendRawTransaction", "eth_estimateGas", "eth_getTransactionCount", "eth_chainId"):
        consortium.endpoints[0].refuse(method, "not today")
    sender = _sender(consortium, world.administrator)
    assert sender.send(world.deployment.address, _enrolment(consortium)).succeeded


def test_send_endpoint_inflates_the_count_of_transactions_is_not_believed(consortium: Consortium) -> None:
    world = consortium.world
    consortium.endpoints[0].lie("eth_getTransactionCount", lambda _, __: "0x3e8")
    sender = _sender(consortium, world.administrator)
    mined = world.chain.transaction_count(world.administrator.address)
    first = sender.submit(world.deployment.address, _enrolment(consortium))
    assert first.nonce == mined
    assert sender.wait(first).succeeded


@FIRST_AND_SECOND
def test_send_endpoint_takes_the_transaction_and_never_answers_lands_once(
    consortium: Consortium, liar: int
) -> None:
    world, key = consortium.world, consortium.world.administrator
    consortium.chain.close()
    consortium.chain = consortium.connect(call_seconds=4.0)
    sender = _sender(consortium, key)
    before = world.chain.transaction_count(key.address)
    if liar == 1:
        consortium.endpoints[0].refuse("eth_sendRawTransaction", "not today")
    consortium.endpoints[liar].hang("eth_sendRawTransaction")
    receipt = sender.send(world.deployment.address, _enrolment(consortium))
    assert world.chain.transaction_count(key.address) == before + 1
    assert receipt == world.chain.receipt(receipt.transaction_hash)


@pytest.mark.parametrize("words", ["nonce too low", "mempool is full"])
def test_send_endpoint_takes_the_transaction_and_refuses_it_lands_once(
    consortium: Consortium, words: str
) -> None:
    world, key = consortium.world, consortium.world.administrator
    consortium.chain.close()
    consortium.chain = consortium.connect(clock=time.monotonic)
    consortium.endpoints[0].refuse("eth_sendRawTransaction", words)
    consortium.endpoints[0].lie("eth_getTransactionReceipt", lambda _, __: None)
    sender = _sender(consortium, key)
    before = world.chain.transaction_count(key.address)
    receipt = sender.send(world.deployment.address, _enrolment(consortium))
    assert world.chain.transaction_count(key.address) == before + 1
    assert receipt == world.chain.receipt(receipt.transaction_hash)


@FIRST_AND_SECOND
def test_send_endpoint_understates_the_count_of_transactions_is_not_believed_and_named(
    consortium: Consortium, liar: int
) -> None:
    world, key = consortium.world, consortium.world.administrator
    for _ in range(2):
        world.sender(key).send(world.deployment.address, _enrolment(consortium))
    mined = world.chain.transaction_count(key.address)
    consortium.endpoints[liar].lie("eth_getTransactionCount", lambda _, __: "0x0")
    # It takes what nobody else would.
    consortium.endpoints[liar].swallow(
        "eth_sendRawTransaction", lambda parameters: "0x" + keccak(bytes.fromhex(parameters[0][2:])).hex()
    )
    sender = _sender(consortium, key)
    first = sender.submit(world.deployment.address, _enrolment(consortium))
    assert first.nonce == mined
    assert sender.wait(first).succeeded
    for _ in range(2):
        assert consortium.chain.transaction_count(key.address) == mined + 1
        consortium.clock.pass_seconds(REVIEW_SECONDS)
    consortium.require_named(liar)


def test_count_of_transactions_endpoint_just_behind_is_not_named(consortium: Consortium) -> None:
    world, key, behind = consortium.world, consortium.world.administrator, consortium.endpoints[1]
    for _ in range(2):
        old = world.chain.transaction_count(key.address)
        world.sender(key).send(world.deployment.address, _enrolment(consortium))
        behind.lie("eth_getTransactionCount", lambda _, __, old=old: hex(old))
        assert consortium.chain.transaction_count(key.address) == old + 1
        consortium.clock.pass_seconds(REVIEW_SECONDS)
    assert consortium.chain.problems() == ()


@FIRST_AND_SECOND
@pytest.mark.parametrize("told", [0, 1_000])
def test_count_of_transactions_of_two_that_differ_is_the_lower_one(
    new_consortium: Callable[..., Consortium], liar: int, told: int
) -> None:
    consortium = new_consortium(2)
    world, key = consortium.world, consortium.world.administrator
    world.sender(key).send(world.deployment.address, _enrolment(consortium))
    mined = world.chain.transaction_count(key.address)
    consortium.endpoints[liar].lie("eth_getTransactionCount", lambda _, __: hex(told))
    assert consortium.chain.transaction_count(key.address) == min(told, mined)


def test_send_contract_refuses_is_refused_through_endpoints_too(consortium: Consortium) -> None:
    stranger = Key.new()
    with pytest.raises(ContractRefused):
        _sender(consortium, stranger).send(
            consortium.world.deployment.address, calls.set_member_active(stranger.address, True)
        )
    assert consortium.chain.problems() == ()


def test_block_that_nobody_has_is_unknown_and_blames_nobody(consortium: Consortium) -> None:
    with pytest.raises(BlockUnknown):
        consortium.chain.block(10_000_000)
    with pytest.raises(BlockUnknown):
        consortium.chain.block(secrets.token_bytes(32))
    assert consortium.chain.problems() == ()


def test_connect_one_url_is_a_plain_chain(consortium: Consortium) -> None:
    world = consortium.world
    with connect([world.chain.url], replace(ANVIL), world.deployment) as chain:
        assert type(chain) is Chain
