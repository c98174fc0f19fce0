"""One chain through several endpoints: the validators of a list. Any of them may fail, fall behind, or lie.

Blocks, logs, receipts and transaction counts are taken when enough endpoints tell the same; whoever tells otherwise is
excluded and named. All else is asked of the first that answers. Which lies this finds, and what it costs: ADR 0101.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ledger.asking import Asking, Outcome, answers_of, failures_of
from ledger.blocks import Block, Log, Receipt, Transaction
from ledger.chain import MAX_ANSWER_BYTES, BlockId, Chain
from ledger.confirmed_heads import ConfirmedHeads
from ledger.confirmed_receipts import ConfirmedReceipts
from ledger.deploy import Deployment
from ledger.endpoint import Endpoint
from ledger.engine import Engine
from ledger.errors import BlockUnknown, NonceUsed, RpcRefused
from ledger.follow import Checkpoint

CALL_SECONDS = 30.0
"""How long one endpoint may take over one call, however slowly its bytes drip."""
HEDGE_SECONDS = 2.0
"""How long one endpoint is waited for before another one is asked in its stead."""
PATIENCE_SECONDS = 5.0
"""How long one is waited for where all were asked and enough others have answered."""
_REMEMBERED = 4_096
_Answer = TypeVar("_Answer")


def connect(urls: Sequence[str], engine: Engine, deployment: Deployment, confirmations: int = 0) -> Chain:
    """The chain of a deployment through one endpoint, or through several; the caller closes it."""
    if len(urls) == 1:
        return Chain(urls[0], engine)
    return Endpoints(urls, engine, deployment, confirmations=confirmations)


class Endpoints(Chain):
    """One chain through several endpoints; the first in the list that is well is asked first.

    Methods raise what :class:`Chain` raises, ChainUnreachable also while fewer than ``confirmations`` answer, and

    - EndpointsDisagree where they tell different things and not enough of them the same;
    - ChainReplaced where every one of them is on another chain than what was taken in.
    """

    def __init__(
        self,
        urls: Sequence[str],
        engine: Engine,
        deployment: Deployment,
        *,
        confirmations: int = 0,
        timeout_seconds: float = 10.0,
        call_seconds: float = CALL_SECONDS,
        hedge_seconds: float = HEDGE_SECONDS,
        patience_seconds: float = PATIENCE_SECONDS,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connects to no endpoint yet.

        Args:
            urls: the endpoints, different from each other, the own validator's first.
            confirmations: how many must tell the same before it is taken; 0 = a third of them and one more.
        """
        self.engine = engine
        self.deployment = deployment
        self.confirmations = confirmations or len(urls) // 3 + 1
        self._clock = clock

        def maker(url: str) -> Callable[[], Chain]:
            return lambda: Chain(
                url, engine, timeout_seconds=timeout_seconds, max_answer_bytes=max_answer_bytes
            )

        self._endpoints = [Endpoint(maker(url), clock) for url in urls]
        self._asking = Asking(
            self._endpoints,
            deployment,
            confirmations=self.confirmations,
            call_seconds=call_seconds,
            hedge_seconds=hedge_seconds,
            patience_seconds=patience_seconds,
        )
        self.url = urls[0]
        self.place = ", ".join(endpoint.place for endpoint in self._endpoints)
        self._stale_seconds = max(3.0, 4 * engine.block_seconds)
        self._heads = ConfirmedHeads(
            self._asking,
            # A head that moves as rarely as empty blocks come does not stand still.
            stale_seconds=max(self._stale_seconds, engine.idle_block_seconds + 3.0),
            clock=clock,
        )
        self._sent: dict[bytes, None] = {}
        self._short: dict[tuple[Endpoint, bytes], tuple[float, int]] = {}
        self._receipts = ConfirmedReceipts(
            self._asking,
            self._heads.head_of,
            self._heads.final_number_from,
            stale_seconds=self._stale_seconds,
            clock=clock,
        )

    def close(self) -> None:
        """Closes all connections."""
        self._asking.close()

    def problems(self) -> tuple[str, ...]:
        """Each endpoint that is not asked at the moment, and why; and which one of two is believed alone meanwhile."""
        problems, alone = self._asking.problems(), self.believed_alone()
        if alone is None:
            return problems
        return (
            *problems,
            f"{alone} is believed alone meanwhile, and nothing would find it out if it lied: name a third endpoint in "
            "rpc_urls, or set rpc_confirmations to 2 to take in nothing instead",
        )

    def believed_alone(self) -> str | None:
        """The only endpoint that is well, where one is enough."""
        well = [endpoint.place for endpoint in self._endpoints if endpoint.problem is None]
        return well[0] if self.confirmations == 1 and len(well) == 1 else None

    def hold(self, block_number: int, block_hash: bytes) -> None:
        """Takes a block as final: an endpoint that has another one in its place is excluded from now on."""
        self._asking.held = Checkpoint(block_number, block_hash, 0)

    def final_block(self) -> Block:
        """The latest final block that enough endpoints have; it never goes back."""
        return self._heads.final_block()

    def block(self, block: BlockId) -> Block:
        """One block's header, the same from enough endpoints."""
        if block is None:
            return self.final_block()
        number = block
        final = self._heads.final
        if final is not None and number in (final.number, final.hash):
            return final
        return self._asking.agreed(f"block {number!r}", lambda endpoint: endpoint.chain.block(number))

    def logs(
        self, address: bytes, from_block: int, to_block: int, topics: Sequence[bytes] | None = None
    ) -> list[Log]:
        """The logs of a contract, the same from enough endpoints that have all of these blocks."""

        def ask(endpoint: Endpoint) -> list[Log]:
            if endpoint.head < to_block and self._heads.head_of(endpoint).number < to_block:
                raise BlockUnknown(f"the chain at {endpoint.place} has not got to block {to_block}")
            return endpoint.chain.logs(address, from_block, to_block, topics)

        return self._asking.agreed(f"logs of blocks {from_block} to {to_block}", ask)

    def receipts(self, hashes: Sequence[bytes]) -> list[Receipt | None]:
        """The receipts that enough endpoints tell alike; None for each that is not mined, or not confirmed yet."""
        return self._receipts.of(hashes)

    def transaction_count(self, address: bytes, tag: str = "latest") -> int:
        """How many transactions of an account enough endpoints have; of two that differ, the lower number.

        All are asked, so that fewer liars than must tell the same can move it neither way.
        """
        outcomes = self._asking.gather(
            lambda one: one.chain.transaction_count(address, tag), wanted=len(self._endpoints)
        )
        counts = sorted(answers_of(outcomes), reverse=True)
        if len(counts) < self.confirmations:
            raise self._asking.too_few(len(counts), failures_of(outcomes))
        believed = counts[min(max(self.confirmations, 2), len(counts)) - 1]
        if tag == "latest":
            for endpoint, count in outcomes:
                if isinstance(count, int):
                    self._leave_if_short(endpoint, address, count, believed)
        return believed

    def request_bytes(self, method: str, parameters: Sequence[Any]) -> bytes:
        """The unparsed answer of the first endpoint that is well; nothing confirms it."""
        return self._asking.any(lambda endpoint: endpoint.chain.request_bytes(method, parameters))

    def request(self, method: str, parameters: Sequence[Any] = ()) -> Any:
        """The parsed ``result`` of the first endpoint that is well; nothing confirms it."""
        return self._asking.any(lambda endpoint: endpoint.chain.request(method, parameters))

    def request_many(self, method: str, many: Sequence[Sequence[Any]]) -> list[Any]:
        """The results of several requests from the first endpoint that is well; nothing confirms them."""
        return self._asking.any(lambda endpoint: endpoint.chain.request_many(method, many))

    def chain_id(self) -> int:
        """The chain's EIP-155 id, which every endpoint is held to."""
        return self.deployment.chain_id

    def genesis_hash(self) -> bytes:
        """The hash of the first block, which every endpoint is held to."""
        return self._asking.any(lambda endpoint: endpoint.chain.genesis_hash())

    def confirmed(self, what: str, ask: Callable[[Chain], _Answer]) -> _Answer:
        """What enough endpoints answer alike; whoever answers otherwise is excluded."""
        return self._asking.agreed(what, lambda endpoint: ask(endpoint.chain))

    def call(self, to: bytes, call_data: bytes, block: BlockId = None, sender: bytes | None = None) -> bytes:
        """What a contract returns, by the first endpoint that is well."""
        return self._asking.any(lambda endpoint: endpoint.chain.call(to, call_data, block, sender))

    def estimate_gas(self, to: bytes | None, call_data: bytes, sender: bytes) -> int:
        """The gas that a transaction would use, by the first endpoint that is well."""
        return self._asking.any(lambda endpoint: endpoint.chain.estimate_gas(to, call_data, sender))

    def transaction(self, transaction_hash: bytes) -> Transaction | None:
        """A transaction that the first endpoint which is well knows."""
        return self._asking.any(lambda endpoint: endpoint.chain.transaction(transaction_hash))

    def code_hash(self, address: bytes, block: BlockId = None) -> bytes:
        """The hash of the code at an address, by the first endpoint that is well."""
        return self._asking.any(lambda endpoint: endpoint.chain.code_hash(address, block))

    def send_raw(self, raw: bytes) -> bytes:
        """Hands in a transaction; one that was handed in before goes to all: the first may have lost or kept it.

        A new one counts as refused only where every endpoint that got it refused: one that failed may have taken it.
        """
        is_new = raw not in self._sent
        self._remember_sent(raw)

        def done(outcomes: Sequence[Outcome[bytes]]) -> bool:
            refused = sum(isinstance(one, RpcRefused) for one in failures_of(outcomes))
            return is_new and (bool(answers_of(outcomes)) or refused == 2)

        outcomes = self._asking.gather(
            lambda endpoint: endpoint.chain.send_raw(raw),
            wanted=1 if is_new else len(self._endpoints),
            done=done,
        )
        for accepted in answers_of(outcomes):
            return accepted
        failures = failures_of(outcomes)
        refusals = [one for one in failures if isinstance(one, RpcRefused)]
        unknown = [one for one in failures if not isinstance(one, RpcRefused)]
        if not refusals or (is_new and unknown):
            raise self._asking.worst(unknown)
        raise next((one for one in refusals if isinstance(one, NonceUsed)), refusals[0])

    def _leave_if_short(self, endpoint: Endpoint, address: bytes, count: int, believed: int) -> None:
        """Leaves an endpoint that does not come to a number of transactions which the others had some time ago."""
        now, key = self._clock(), (endpoint, address)
        if count >= believed:
            self._short.pop(key, None)
            return
        since, others = self._short.setdefault(key, (now, believed))
        if now - since > self._stale_seconds:
            self._short.pop(key)
            if count < others:
                endpoint.rest(
                    f"{endpoint.place} counts {count} transactions of 0x{address.hex()}, of which the others counted "
                    f"{others} some time ago"
                )

    def _remember_sent(self, raw: bytes) -> None:
        self._sent[raw] = None
        while len(self._sent) > _REMEMBERED:
            self._sent.pop(next(iter(self._sent)), None)
