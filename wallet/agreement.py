"""Agreement: the wallet believes no single node.

What it acts on must come, equal, from nodes of two different members at one final block. Nodes follow the chain
at their own pace, so it asks again until two answers are of the same block; answers of earlier rounds count too.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from wallet.errors import NodeAnswerInvalid, NodeError, NodesDisagree, TooFewNodes
from wallet.nodes import NodeClient
from wire.ledger import BlockReference

QUORUM = 2
"""Members whose nodes must say the same."""
PATIENCE_SECONDS = 20.0
"""How long two nodes may take to be seen at one block."""
_PAUSE_SECONDS = 0.1


class View(Protocol):
    """An answer that says which final block it is of."""

    @property
    def final(self) -> BlockReference:
        """The block."""


_View = TypeVar("_View", bound=View)


@dataclass(frozen=True, slots=True)
class Answer(Generic[_View]):
    """What one member's node said."""

    member: bytes
    node: str
    view: _View


@dataclass(frozen=True, slots=True)
class Agreed(Generic[_View]):
    """What nodes of different members said alike of one block."""

    view: _View
    nodes: tuple[str, ...]
    answers: tuple[Answer[_View], ...]
    """All answers of that block: what may differ between nodes (releases, say) is in each."""


def find_agreement(
    answers: Sequence[Answer[_View]], comparable: Callable[[_View], Hashable], what: str
) -> Agreed[_View] | None:
    """The agreement among answers of one block, if there is one yet.

    Args:
        comparable: the part of a view that must not differ; equal views give equal values.
        what: the view in words, for the error.

    Raises:
        NodesDisagree: two members differ in one block, or have different blocks of one number.
    """
    hashes: dict[int, dict[bytes, list[Answer[_View]]]] = defaultdict(lambda: defaultdict(list))
    for answer in answers:
        hashes[answer.view.final.number][answer.view.final.hash].append(answer)
    for number in sorted(hashes, reverse=True):
        by_hash = hashes[number]
        if len(by_hash) > 1:
            sides = tuple(_names(group) for group in by_hash.values())
            raise _disagreement(f"the block of number {number}", sides, number)
        (group,) = by_hash.values()
        by_value: dict[Hashable, list[Answer[_View]]] = defaultdict(list)
        for answer in group:
            by_value[comparable(answer.view)].append(answer)
        if len(by_value) > 1:
            raise _disagreement(what, tuple(_names(side) for side in by_value.values()), number)
        latest = {answer.member: answer for answer in group}
        if len(latest) >= QUORUM:
            chosen = tuple(latest.values())
            return Agreed(chosen[0].view, _names(chosen), chosen)
    return None


def agree(
    clients: Sequence[NodeClient],
    fetch: Callable[[NodeClient], _View],
    comparable: Callable[[_View], Hashable],
    what: str,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Agreed[_View]:
    """Asks nodes of different members until two of them say the same of one block.

    The first ``QUORUM`` clients are asked; one that fails is replaced by the next. When two differ, the others
    are asked as well, so that the error can show who stands alone; a majority is never taken for the truth.

    Raises:
        TooFewNodes: fewer than two members answered, or never at one block; the message has each reason.
        NodesDisagree: some of them differ.
    """
    waiting = list({client.member: client for client in clients}.values())
    asked, waiting = waiting[:QUORUM], waiting[QUORUM:]
    failures: dict[str, str] = {}
    answers: list[Answer[_View]] = []
    until = time.monotonic() + patience_seconds
    while True:
        for client, result in zip(asked[:], ask_all(asked, fetch), strict=True):
            if isinstance(result, NodeError):
                failures[client.name] = str(result)
                asked.remove(client)
            else:
                answers.append(Answer(client.member, client.name, result))
        while len(asked) < QUORUM and waiting:
            client = waiting.pop(0)
            asked.append(client)
        if len(asked) < QUORUM:
            raise TooFewNodes(_too_few(what, failures))
        try:
            agreed = find_agreement(answers, comparable, what)
        except NodesDisagree as differing:
            if waiting:
                asked, waiting = [*asked, *waiting], []
                continue
            raise differing
        if agreed is not None:
            return agreed
        if time.monotonic() > until:
            names = ", ".join(sorted({answer.node for answer in answers}))
            raise TooFewNodes(
                f"{what}: expected two nodes at one final block within {patience_seconds:.0f} s; {names} "
                f"were never at the same: {'; '.join(failures.values()) or 'one of them may have stopped'}"
            )
        time.sleep(_PAUSE_SECONDS)


_Result = TypeVar("_Result")


def ask_all(clients: Sequence[NodeClient], ask: Callable[[NodeClient], _Result]) -> list[_Result | NodeError]:
    """Asks all at once; a node's failure is its answer. In the order of the clients."""

    def attempt(client: NodeClient) -> _Result | NodeError:
        try:
            return ask(client)
        except NodeError as error:
            return error

    if not clients:
        return []
    with ThreadPoolExecutor(max_workers=min(8, len(clients))) as pool:
        return list(pool.map(attempt, clients))


def _names(answers: Sequence[Answer[_View]]) -> tuple[str, ...]:
    return tuple(sorted({answer.node for answer in answers}))


def _disagreement(what: str, sides: tuple[tuple[str, ...], ...], number: int) -> NodesDisagree:
    shown = " | ".join(" and ".join(side) for side in sides)
    return NodesDisagree(
        what,
        sides,
        f"nodes say different things of {what} at block {number}: {shown}. One of them lies or is broken; "
        "nothing was signed. Tell the members, and ask again with other nodes",
    )


def _too_few(what: str, failures: dict[str, str]) -> str:
    reasons = "; ".join(failures.values()) or "no more nodes are known"
    return (
        f"{what}: expected answers from nodes of {QUORUM} different members; came fewer ({reasons}). "
        "A single node could show a false ledger, so nothing was signed"
    )


__all__ = [
    "PATIENCE_SECONDS",
    "QUORUM",
    "Agreed",
    "Answer",
    "NodeAnswerInvalid",
    "agree",
    "ask_all",
    "find_agreement",
]
