"""Verification: is what the contract says of itself exactly what its events make of it?

:func:`verify` reads a whole history again, folds it, recomputes every chain and every id, and compares all with the
contract's views at one block. :func:`examine` is its core, without a chain: it takes logs and views.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from ledger.blocks import Block
from ledger.chain import Chain
from ledger.column_fold import fold_columns
from ledger.columns import LedgerColumns, columns_of
from ledger.comparisons import Comparison, Views, comparisons
from ledger.contract import ConsentLedger
from ledger.deploy import Deployment, check_deployment
from ledger.errors import (
    AnswerTooLarge,
    ChainAnswerInvalid,
    ChainReplaced,
    ContractRefused,
    EventUnknown,
    RpcRefused,
    StateInconsistent,
)
from ledger.identities import ids_divergence, parties_divergence
from ledger.log_pages import RawLog, read_pages
from ledger.state import LedgerState
from ledger.verification import TITLES, Divergence, Step, Verification

LocalCheck = Callable[[LedgerState, Block], Divergence | None]
"""What a caller stores itself, compared with the replayed state at the block: step 11."""
OnStep = Callable[[Step], None]


def verify(
    chain: Chain, deployment: Deployment, *, local: LocalCheck | None = None, on_step: OnStep | None = None
) -> Verification:
    """Replays a ledger and compares it with the contract's views, at the latest final block.

    1. The chain's id and genesis block and the contract's code are those of the deployment.
    2. Every log of the contract since its deployment is one of its events, in that event's exact form.
    3. Every event can follow those before it; sequences of accesses and versions have no gap; ids inside and outside
       of an event are the same, and each record's and consent's id is that of its parties and nonce.
    4. Administrator, minimum threshold and successor are as the events say.
    5. So are the members' roles, activity, key versions and digests of keys, name and endpoint,
    6. the patients' words and the digests of their keyrings,
    7. the records' words,
    8. the consents' words with their uses,
    9. the head of each patient's access chain, recomputed link by link,
    10. and the head of each author's publication chain, recomputed likewise.
    11. What the caller stores agrees too, where it gives ``local``.

    What an endpoint could still hide, since no view tells it: a patient without records, or a consent that nobody
    used, together with all its events. What it could alter: keys and keyrings that were in force before the current
    ones, payload commitments, which record corrects which, skipped relay items. Compare with another member's endpoint.

    Args:
        on_step: called after each step that held, for progress.

    Raises:
        ChainUnreachable, RpcRefused, AnswerTooLarge: the endpoint fails; a divergence never raises.
    """
    try:
        check_deployment(chain, deployment)
    except ChainReplaced as error:
        found = Divergence(1, "chain", "the deployment's chain and contract", str(error), 0)
        return Verification(deployment, None, 0, 0, (), found)
    block = chain.final_block()
    pages = read_pages(chain, deployment.address, deployment.block_number, block.number)
    views = ConsentLedger(chain, deployment.address)
    return examine(deployment, pages, views, block, local=local, on_step=on_step)


def examine(
    deployment: Deployment,
    pages: Iterable[Sequence[RawLog]],
    views: Views,
    block: Block,
    *,
    local: LocalCheck | None = None,
    on_step: OnStep | None = None,
) -> Verification:
    """Steps 2 to 11 of :func:`verify` over given logs and views; step 1 counts as held."""
    run = _Run(deployment, block, on_step)
    run.held(1, 3)
    divergence = run.replay(pages) or run.compare(views) or run.local(local)
    return Verification(deployment, block, run.event_count, run.decision_count, tuple(run.steps), divergence)


class _Run:
    """One verification on its way: what was read, and which steps held."""

    def __init__(self, deployment: Deployment, block: Block, on_step: OnStep | None) -> None:
        self.deployment = deployment
        self.block = block
        self.steps: list[Step] = []
        self.event_count = self.decision_count = 0
        self._on_step = on_step
        self._columns: LedgerColumns | None = None
        self._state = LedgerState(deployment.scope)

    def held(self, number: int, compared: int) -> None:
        self.steps.append(Step(number, TITLES[number], compared))
        if self._on_step is not None:
            self._on_step(self.steps[-1])

    def replay(self, pages: Iterable[Sequence[RawLog]]) -> Divergence | None:
        # 2. Every log is an event.
        try:
            columns = self._columns = columns_of(pages)
        except AnswerTooLarge:
            raise
        except (EventUnknown, ChainAnswerInvalid) as error:
            return Divergence(2, "log", "logs of this contract's events", str(error), self.block.number)
        self.event_count, self.decision_count = columns.event_count, len(columns.decisions)
        self.held(2, columns.event_count)
        # 3. Every event follows, and is of one piece.
        try:
            self._state = fold_columns(self.deployment.scope, columns)
        except StateInconsistent as error:
            what = f"{error.event_name} at log {error.log_index} of block {error.block_number}"
            found = "a history without it: an event is missing, repeated, altered or out of its order"
            return Divergence(3, what, error.expected, found, error.block_number)
        divergence = parties_divergence(columns) or ids_divergence(self.deployment.scope, self._state)
        if divergence is None:
            self.held(3, columns.event_count)
        return divergence

    def compare(self, views: Views) -> Divergence | None:
        # 4 to 10. Every word and digest that the views tell.
        for number, several in groupby(comparisons(self._state, views), key=lambda one: one.step):
            compared = 0
            for comparison in several:
                expected = [comparison.replayed(self._state, key) for key in comparison.keys]
                found = comparison.ask(comparison.keys, self.block.hash)
                for key, ours, theirs in zip(comparison.keys, expected, found, strict=True):
                    if ours != theirs:
                        return self._divergence(comparison, key, theirs)
                compared += len(expected)
            self.held(number, compared)
        return None

    def local(self, check: LocalCheck | None) -> Divergence | None:
        # 11. What the caller stores.
        if check is None:
            return None
        divergence = check(self._state, self.block)
        if divergence is None:
            self.held(11, 1)
        return divergence

    def _divergence(self, comparison: Comparison, key: bytes, found: object) -> Divergence:
        difference = comparison.difference(comparison.replayed(self._state, key), found)
        return Divergence(
            comparison.step,
            f"{comparison.name(key)}: {difference.field}",
            difference.expected,
            difference.found,
            self.block.number,
            self._since(comparison, key),
        )

    def _since(self, comparison: Comparison, key: bytes) -> int | None:
        """The first block at which events and view differ, by halving; None when the endpoint forgot the past."""
        assert self._columns is not None
        history: list[tuple[int, object]] = []

        def observe(block_number: int, state: LedgerState) -> None:
            value = comparison.replayed(state, key)
            if not history or history[-1][1] != value:
                history.append((block_number, value))

        fold_columns(self.deployment.scope, self._columns, observe)
        before: object = comparison.replayed(LedgerState(self.deployment.scope), key)

        def agrees(block_number: int) -> bool:
            past = [value for number, value in history if number <= block_number]
            return bool(comparison.ask([key], block_number)[0] == (past[-1] if past else before))

        low, high = self.deployment.block_number, self.block.number
        try:
            if not agrees(low):
                return low
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if agrees(middle) else (low, middle)
        except (RpcRefused, ContractRefused, ChainAnswerInvalid):
            return None
        return high
