"""Asking several endpoints of one chain: the first that is well, or until enough of them tell the same.

An endpoint that fails rests, one that tells something else than enough others is excluded; both are named.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
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
    ) -> None:
        """Asks nobody yet.

        Args:
            confirmations: how many must tell the same before it is believed.
            call_seconds: how long one of them may take over a call, however slowly its bytes drip.
        """
        self.endpoints = tuple(endpoints)
        self.confirmations = confirmations
        self.held: Checkpoint | None = None
        """The last block that was taken in: an endpoint that has another one in its place is not believed."""
        self._deployment = deployment
        self._call_seconds = call_seconds
        self._pool = ThreadPoolExecutor(4 * len(endpoints), "endpoints")

    def close(self) -> None:
        """Closes all connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for endpoint in self.endpoints:
            endpoint.chain.close()

    def problems(self) -> tuple[str, ...]:
        """Each endpoint that is not asked at the moment, and why."""
        return tuple(one.problem for one in self.endpoints if one.problem is not None)

    def any(self, ask: Callable[[Endpoint], _Answer]) -> _Answer:
        """The first answer; a refusal only when a second endpoint does not answer otherwise."""
        failures: list[LedgerError] = []
        for _, outcome in self.each(ask, wave=1):
            if not isinstance(outcome, LedgerError):
                return outcome
            failures.append(outcome)
            if sum(isinstance(failure, RpcRefused) for failure in failures) == 2:
                break
        raise self.worst(failures)

    def agreed(self, what: str, ask: Callable[[Endpoint], _Answer]) -> _Answer:
        """The answer that enough endpoints give. More are asked only when the first ones differ or fail."""
        wanted = max(self.confirmations, min(2, len(self.endpoints)))
        answers: list[_Answer] = []
        failures: list[LedgerError] = []
        for _, outcome in self.each(ask, wave=wanted):
            if isinstance(outcome, LedgerError):
                failures.append(outcome)
            else:
                answers.append(outcome)
            if len(answers) == wanted:
                break
        if any(answer != answers[0] for answer in answers):
            return self._settled(what, ask)
        if len(answers) >= self.confirmations:
            return answers[0]
        raise self.too_few(len(answers), failures)

    def _settled(self, what: str, ask: Callable[[Endpoint], _Answer]) -> _Answer:
        """Asks all, after a moment, and believes the most where they are enough; the others are excluded."""
        time.sleep(SECOND_LOOK_SECONDS)
        groups: list[tuple[_Answer, list[Endpoint]]] = []
        for endpoint, outcome in self.each_of([one for one in self.endpoints if not one.rests()], ask):
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

    def each(self, ask: Callable[[Endpoint], _Answer], wave: int | None = None) -> Iterable[Outcome[_Answer]]:
        """Asks endpoints in their order, so many at a time; at last those that rest, where the others are too few.

        Raises:
            ChainReplaced: all are on another chain.
        """
        well = [endpoint for endpoint in self.endpoints if not endpoint.rests()]
        resting = [one for one in self.endpoints if one.rests() and not one.excluded]
        if not well and not resting:
            self._require_one_chain()
        # One that fails may take its time over it: it is bothered only where the others are too few.
        for asked in (well,) if len(well) >= self.confirmations else (well, resting):
            size = wave or max(len(asked), 1)
            for start in range(0, len(asked), size):
                yield from self.each_of(asked[start : start + size], ask)

    def each_of(
        self, endpoints: Sequence[Endpoint], ask: Callable[[Endpoint], _Answer]
    ) -> list[Outcome[_Answer]]:
        """Asks these endpoints at the same time; ChainReplaced where that leaves none on the right chain."""
        calls: list[tuple[Endpoint, Future[_Answer]]] = [
            (one, self._pool.submit(self._admitted, one, ask)) for one in endpoints
        ]
        until = time.monotonic() + self._call_seconds
        outcomes: list[Outcome[_Answer]] = []
        for endpoint, call in calls:
            outcome = self._outcome(endpoint, call, until)
            outcomes.append(outcome)
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

    def _outcome(self, endpoint: Endpoint, call: Future[_Answer], until: float) -> Outcome[_Answer]:
        try:
            answer = call.result(max(until - time.monotonic(), 0.0))
            endpoint.works()
            return endpoint, answer
        except FutureTimeout:
            endpoint.renew()
            problem = f"the chain at {endpoint.place} did not answer within {self._call_seconds:.0f} s"
            endpoint.rest(problem)
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


def _places(endpoints: Sequence[Endpoint]) -> str:
    return " and ".join(endpoint.place for endpoint in endpoints)
