"""The outcome of a verification (``ledger.verify``): its steps, and the first divergence."""

from dataclasses import dataclass

from ledger.blocks import Block
from ledger.deploy import Deployment

TITLES = {
    1: "the same chain and contract",
    2: "every log is an event of the contract",
    3: "every event follows from those before it",
    4: "administrator, threshold and successor",
    5: "members and their keys",
    6: "patients and their keyrings",
    7: "records",
    8: "consents",
    9: "access chains, link by link",
    10: "publication chains, link by link",
    11: "what is stored here",
}
"""What each step establishes."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step that held; ``compared`` says how many things it compared."""

    number: int
    title: str
    compared: int


@dataclass(frozen=True, slots=True)
class Divergence:
    """The first thing that is not as the events say.

    Attributes:
        step: The step that found it.
        what: Which thing, and which part of it: ``consent 0x12...: uses``.
        expected: Its value by the events.
        found: Its value by the contract's view, or what came instead. Both hold no more than the chain sent.
        block_number: The block at which both were compared, or in which the event stands.
        since_block: The first block at which they differ, where the endpoint still tells the past; else None.
    """

    step: int
    what: str
    expected: str
    found: str
    block_number: int
    since_block: int | None = None

    @property
    def text(self) -> str:
        """All of it in a sentence."""
        since = f", and since block {self.since_block}" if self.since_block is not None else ""
        return (
            f"step {self.step}, {TITLES[self.step]}: {self.what} differs at block {self.block_number}{since}: "
            f"expected {self.expected}; found {self.found}"
        )


@dataclass(frozen=True, slots=True)
class Verification:
    """What verification established, up to which block.

    Attributes:
        block: The block of the comparison; None where the chain itself is another one.
        event_count: Logs read; a batch of decisions is one.
        decision_count: Decisions on accesses, each a link of a chain.
        steps: The steps that held, in order; all of them when there is no divergence.
    """

    deployment: Deployment
    block: Block | None
    event_count: int
    decision_count: int
    steps: tuple[Step, ...]
    first_divergence: Divergence | None

    @property
    def agrees(self) -> bool:
        """Whether everything is as the events say."""
        return self.first_divergence is None
