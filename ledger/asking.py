"""Asking several endpoints of one chain: the first that is well, or until enough of them tell the same.

An endpoint that fails rests, one that tells something else than enough others is excluded; both are named.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TypeVar

from ledger.deploy import Deployment
from ledger.endpoint import Endpoint
from ledger.errors import (
    AnswerTooLarge,
    BlockUnknown,
    ChainAnswerInvalid,
    ChainReplaced,
    ChainUnreachable,
    EndpointContradictsItself,
    EndpointsDisagree,
    LedgerError,
    RpcRefused,
)
from ledger.follow import Checkpoint

CALLS_AT_ONCE = 8
"""How many calls one endpoint is asked at the same time."""
SECOND_LOOK_SECONDS = 0.25
"""How long after a difference all are asked again: an endpoint may be just behind."""
_Answer = TypeVar("_Answer")
Outcome = tuple[Endpoint, _Answer | LedgerError]
"""What an endpoint answered, or how it failed."""


class Asking:
    """The endpoints of one chain, in the order in which they are asked. Safe between threads."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        deployment: Deployment,
        *,
        confirmations: int,
        call_seconds: float,
        hedge_seconds: float,
        patience_seconds: float,
    ) -> None:
        """Asks nobody yet.

        Args:
            confirmations: how many must tell the same before it is believed.
            call_seconds: how long one of them may take over a call, however slowly its bytes drip.
            hedge_seconds: after how long another one is asked in the stead of one that has not answered.
            patience_seconds: how long one is waited for where enough others have answered and all were asked.
        """
        self.endpoints = tuple(endpoints)
        self.confirmations = confirmations
        self.held: Checkpoint | None = None
        """The last block that was taken in: an endpoint that has another one in its place is not believed."""
        self._deployment = deployment
        self._call_seconds = call_seconds
        self._hedge_seconds = hedge_seconds
        self._patience_seconds = patience_seconds
        # One's calls that do not end take no thread from the others.
        self._pools = {one: ThreadPoolExecutor(CALLS_AT_ONCE, "endpoint") for one in endpoints}

    def close(self) -> None:
        """Closes all connections."""
        for endpoint, pool in self._pools.items():
            pool.shutdown(wait=False, cancel_futures=True)
            endpoint.chain.close()

    def problems(self) -> tuple[str, ...]:
        """Each endpoint that is not asked at the moment, and why."""
        return tuple(one.problem for one in self.endpoints if one.problem is not None)

    def any(self, ask: Callable[[Endpoint], _Answer]) -> _Answer:
        """The first answer; a refusal only when a second endpoint does not answer otherwise."""

        def done(outcomes: Sequence[Outcome[_Answer]]) -> bool:
            failures = failures_of(outcomes)
            return len(failures) < len(outcomes) or sum(isinstance(one, RpcRefused) for one in failures) == 2

        outcomes = self.gather(ask, wanted=1, done=done)
        for answer in answers_of(outcomes):
            return answer
        raise self.worst(failures_of(outcomes))

    def agreed(self, what: str, ask: Callable[[Endpoint], _Answer]) -> _Answer:
        """The answer that enough endpoints give. More are asked only when the first ones differ, fail or are slow."""
        outcomes = self.gather(ask, wanted=max(self.confirmations, min(2, len(self.endpoints))))
        answers = answers_of(outcomes)
        if any(answer != answers[0] for answer in answers):
            return self._settled(what, ask)
        if len(answers) >= self.confirmations:
            return answers[0]
        raise self.too_few(len(answers), failures_of(outcomes))

    def _settled(self, what: str, ask: Callable[[Endpoint], _Answer]) -> _Answer:
        """Asks all, after a moment, and believes the most where they are enough; the others are excluded."""
        time.sleep(SECOND_LOOK_SECONDS)
        groups: list[tuple[_Answer, list[Endpoint]]] = []
        for endpoint, outcome in self.gather_all(ask):
            if isinstance(outcome, LedgerError):
                continue
            for answer, endpoints in groups:
                if answer == outcome:
                    endpoints.append(endpoint)
                    break
            else:
                groups.append((outcome, [endpoint]))
        groups.sort(key=lambda group: len(group[1]), reverse=True)
        sides = " against ".join(_places(endpoints) for _, endpoints in groups)
        if (
            not groups
            or len(groups[0][1]) < self.confirmations
            or (len(groups) > 1 and len(groups[0][1]) == len(groups[1][1]))
        ):
            raise EndpointsDisagree(
                f"the chain's endpoints tell different things about {what}, and not enough of them the same "
                f"({sides or 'none answers'}): nothing is taken in until they agree; find out which of them is wrong"
            )
        believed, honest = groups[0]
        for _, endpoints in groups[1:]:
            for endpoint in endpoints:
                endpoint.exclude(
                    f"{endpoint.place} tells something else about {what} than {_places(honest)}: "
                    "it is not believed; look at it"
                )
        return believed

    def gather_all(self, ask: Callable[[Endpoint], _Answer]) -> list[Outcome[_Answer]]:
        """What all that are well answer at the same time; the slow ones are not waited for where enough answered."""
        well = [endpoint for endpoint in self.endpoints if not endpoint.rests()]
        return self._gather(well, ask, len(well), lambda outcomes: False)

    def gather(
        self,
        ask: Callable[[Endpoint], _Answer],
        *,
        wanted: int,
        done: Callable[[Sequence[Outcome[_Answer]]], bool] | None = None,
    ) -> list[Outcome[_Answer]]:
        """Asks endpoints in their order, at last those that rest where the others are too few.

        So many are asked at first as answers are wanted; one more for each that fails, or has not answered for a
        moment. Who was asked and did not answer in the end counts as ChainUnreachable.

        Args:
            done: whether these outcomes are all that is needed; without it, when so many answers as wanted are there.

        Raises:
            ChainReplaced: all are on another chain.
        """
        well = [endpoint for endpoint in self.endpoints if not endpoint.rests()]
        # One that fails may take its time over it: it is bothered only where the others are too few.
        resting = [one for one in self.endpoints if one not in well and not one.excluded]
        asked = well if len(well) >= self.confirmations else [*well, *resting]
        if not asked:
            self._require_one_chain()
        return self._gather(
            asked, ask, wanted, done or (lambda outcomes: len(answers_of(outcomes)) >= wanted)
        )

    def _gather(
        self,
        endpoints: Sequence[Endpoint],
        ask: Callable[[Endpoint], _Answer],
        wanted: int,
        done: Callable[[Sequence[Outcome[_Answer]]], bool],
    ) -> list[Outcome[_Answer]]:
        queue = deque(endpoints)
        running: dict[Future[_Answer], tuple[Endpoint, float]] = {}
        outcomes: list[Outcome[_Answer]] = []
        overtaken_before = float("-inf")
        """Whoever was asked before this time was slower than one that was asked in its stead."""
        while not done(outcomes):
            now, answers = time.monotonic(), len(answers_of(outcomes))
            prompt = sum(now - started < self._hedge_seconds for _, started in running.values())
            for _ in range(min(wanted - answers - prompt, len(queue))):
                one = queue.popleft()
                running[self._pools[one].submit(self._admitted, one, ask)] = one, now
            ages = [now - started for _, started in running.values()]
            if not ages:
                break
            if not queue and answers >= self.confirmations and min(ages) >= self._patience_seconds:
                overtaken_before = now
                break
            limits = (self._hedge_seconds, self._patience_seconds, self._call_seconds)
            pauses = [limit - age for limit in limits for age in ages if limit > age]
            finished, _ = wait(running, min(pauses, default=0.0), FIRST_COMPLETED)
            for call, (endpoint, started) in list(running.items()):
                if call in finished or time.monotonic() - started >= self._call_seconds:
                    del running[call]
                    outcome = self._outcome(endpoint, call)
                    outcomes.append(outcome)
                    if not isinstance(outcome[1], LedgerError):
                        overtaken_before = max(overtaken_before, started - self._hedge_seconds / 2)
        for call, (endpoint, started) in running.items():
            call.cancel()
            if started <= overtaken_before:
                self._cut(
                    endpoint, f"has not answered within {time.monotonic() - started:.1f} s, where others did"
                )
            outcomes.append(
                (endpoint, ChainUnreachable(f"the chain at {endpoint.place} has not answered yet"))
            )
        return outcomes

    def _admitted(self, endpoint: Endpoint, ask: Callable[[Endpoint], _Answer]) -> _Answer:
        connected = endpoint.chain
        try:
            endpoint.admit(self._deployment, self.held)
            return ask(endpoint)
        except Exception as error:
            if endpoint.chain is not connected:
                raise ChainUnreachable(f"the connections to {endpoint.place} were cut") from error
            raise

    def _cut(self, endpoint: Endpoint, problem: str) -> str:
        endpoint.renew()
        problem = f"the chain at {endpoint.place} {problem}"
        endpoint.rest(problem)
        return problem

    def _outcome(self, endpoint: Endpoint, call: Future[_Answer]) -> Outcome[_Answer]:
        try:
            return endpoint, call.result(0)
        except FutureTimeout:
            problem = self._cut(endpoint, f"did not answer within {self._call_seconds:.0f} s")
            return endpoint, ChainUnreachable(problem)
        except ChainReplaced as error:
            endpoint.exclude(str(error), on_another_chain=True)
            self._require_one_chain()
            return endpoint, error
        except EndpointContradictsItself as error:
            endpoint.exclude(str(error))
            return endpoint, error
        except (BlockUnknown, AnswerTooLarge, RpcRefused) as error:
            return endpoint, error
        except (ChainUnreachable, ChainAnswerInvalid) as error:
            endpoint.rest(str(error))
            return endpoint, error

    def _require_one_chain(self) -> None:
        if all(endpoint.on_another_chain for endpoint in self.endpoints):
            raise ChainReplaced("; ".join(self.problems()))

    def too_few(self, answers: int, failures: Sequence[LedgerError]) -> LedgerError:
        """Why too few answered: what they say themselves of a block, a range or a call; else that they are too few."""
        for failure in failures:
            if isinstance(failure, BlockUnknown | AnswerTooLarge | RpcRefused):
                return failure
        why = "; ".join(dict.fromkeys([*map(str, failures), *self.problems()]))
        return ChainUnreachable(
            f"{answers} of the chain's {len(self.endpoints)} endpoints answer, and {self.confirmations} must tell "
            f"the same: {why}"
        )

    def worst(self, failures: Sequence[LedgerError]) -> LedgerError:
        """Why nobody answered what one could have answered alone."""
        return self.too_few(0, failures) if len(failures) != 1 else failures[0]


def answers_of(outcomes: Sequence[Outcome[_Answer]]) -> list[_Answer]:
    """The answers among outcomes."""
    return [outcome for _, outcome in outcomes if not isinstance(outcome, LedgerError)]


def failures_of(outcomes: Sequence[Outcome[_Answer]]) -> list[LedgerError]:
    """The failures among outcomes."""
    return [outcome for _, outcome in outcomes if isinstance(outcome, LedgerError)]


def _places(endpoints: Sequence[Endpoint]) -> str:
    return " and ".join(endpoint.place for endpoint in endpoints)
