"""One of several endpoints of a chain: whether it is believed at the moment, and if not, why and until when."""

import threading
from collections.abc import Callable

from ledger.chain import Chain
from ledger.deploy import Deployment, check_deployment
from ledger.errors import AnswerTooLarge, BlockUnknown, ChainReplaced, ChainUnreachable, RpcRefused
from ledger.follow import Checkpoint

REST_SECONDS = 2.0
LONGEST_REST_SECONDS = 60.0
CALM_SECONDS = 300.0
"""How long an endpoint must do well after a rest for its next rest to be short again."""
EXCLUDED_SECONDS = 300.0
"""How long an endpoint that told an untruth is not asked again; then it is tried as a new one."""


class Endpoint:
    """A client of one endpoint, and what is known about it. Safe between threads.

    It is asked only once admitted: it is on the deployment's chain, has the contract, and has the last block that was
    taken in, with the same hash. An endpoint that fails rests and is admitted anew; one that contradicts what is known
    is excluded.
    """

    def __init__(self, make_chain: Callable[[], Chain], clock: Callable[[], float]) -> None:
        self._make_chain = make_chain
        self._clock = clock
        self._lock = threading.Lock()
        self._admitted = False
        self._asked_again_at = 0.0
        self._rest_seconds = REST_SECONDS
        self.chain = make_chain()
        self.place = self.chain.place
        self.problem: str | None = None
        """Why it is not asked, in words; kept until it is admitted again."""
        self.excluded = False
        self.on_another_chain = False
        self.head = -1
        """The number of the last final block that it told of."""
        self.head_at_review = -1

    def rests(self) -> bool:
        """Whether it is not to be asked now."""
        return self._clock() < self._asked_again_at

    def admit(self, deployment: Deployment, held: Checkpoint | None) -> None:
        """Makes sure, once after each failure, that this is the chain that is followed; one that is behind rests.

        Raises:
            ChainReplaced: it is another one.
            ChainUnreachable, ChainAnswerInvalid: it fails, refuses what must be known, or is behind.
        """
        if self._admitted:
            return
        try:
            final = self.chain.final_block()
            if final.number < deployment.block_number:
                raise BlockUnknown(
                    f"{self.place} is at block {final.number}, before the contract's deployment in block "
                    f"{deployment.block_number}"
                )
            check_deployment(self.chain, deployment)
            if held is not None:
                self.require(held)
        except (AnswerTooLarge, BlockUnknown, RpcRefused) as error:
            raise ChainUnreachable(f"{self.place} cannot be followed yet: {error}") from error
        with self._lock:
            self._admitted, self.excluded, self.on_another_chain, self.problem = True, False, False, None
            self.head = self.head_at_review = final.number

    def require(self, held: Checkpoint) -> None:
        """Checks that it has a block that was taken in already.

        Raises:
            ChainReplaced: it has another one there.
            BlockUnknown: it has not got so far.
        """
        found = self.chain.block(held.block_number)
        if found.hash != held.block_hash:
            raise ChainReplaced(
                f"the chain at {self.place} has 0x{found.hash.hex()} as block {held.block_number}, where "
                f"0x{held.block_hash.hex()} was taken in before"
            )

    def rest(self, problem: str) -> None:
        """Leaves it for a while, and then admits it anew; each time for twice as long, until it did well for long.

        One good call proves nothing: an endpoint may answer what is small and let wait what is needed.
        """
        with self._lock:
            now = self._clock()
            if self.excluded and now < self._asked_again_at:
                return
            if now - self._asked_again_at > CALM_SECONDS:
                self._rest_seconds = REST_SECONDS
            self._asked_again_at = now + self._rest_seconds
            self._rest_seconds = min(2 * self._rest_seconds, LONGEST_REST_SECONDS)
            self._admitted = False
            self.problem = problem if self.place in problem else f"{self.place}: {problem}"

    def exclude(self, problem: str, *, on_another_chain: bool = False) -> None:
        """Leaves it for long: what it said is not true."""
        with self._lock:
            self._asked_again_at = self._clock() + EXCLUDED_SECONDS
            self._admitted, self.excluded, self.problem = False, True, problem
            self.on_another_chain = on_another_chain

    def renew(self) -> None:
        """Cuts its connections: a call on them does not end."""
        with self._lock:
            hanging, self.chain = self.chain, self._make_chain()
            self._admitted = False
        hanging.close()
