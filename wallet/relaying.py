"""Putting signed messages on the ledger through nodes, none of which is believed: what counts is the effect."""

import time
from collections.abc import Callable, Sequence

from ledger.messages import SignedMessage
from wallet.agreement import QUORUM, ask_all
from wallet.errors import LedgerRefused, NodeError, NotFinalYet
from wallet.session import Session
from wire.patients import RelayOutcome, RelayRequest

FINALITY_SECONDS = 15.0
"""How long two nodes may take to report an effect that a node says is final; then the next node gets it too."""
_REFUSED_SECONDS = 2.0
_PAUSE_SECONDS = 0.25

Effect = Callable[[], bool]
"""Whether two nodes agree that the effect is on the ledger."""


def settle(
    session: Session,
    patient: bytes,
    messages: Sequence[SignedMessage],
    effect: Effect,
    what: str,
    *,
    copies: int = 1,
) -> None:
    """Sends messages of one pseudonym in one relay, and returns once two nodes report their effect.

    Repeating it is harmless: with the effect already there nothing is sent, and each message can land only once.

    Args:
        messages: in the order of the ledger.
        effect: asks two nodes.
        what: in words, for errors and progress.
        copies: 2 sends to nodes of two members at once, so that none can withhold it alone.

    Raises:
        LedgerRefused: two members' nodes say that the contract refuses it, and the effect is not there.
        NotFinalYet: the effect did not show in time; nothing is lost, resume later.
        TooFewNodes, NodesDisagree: see ``wallet.agreement``.
    """
    if effect():
        return
    request = RelayRequest(messages=tuple(session.signed(patient, message) for message in messages))
    key = session.request_key(patient)
    refusals: dict[str, str] = {}
    others: list[str] = []
    waiting = session.nodes(patient)
    while waiting and len(refusals) < QUORUM:
        asked, waiting = waiting[:copies], waiting[copies:]
        patience_seconds = 0.0
        for client, answer in zip(asked, ask_all(asked, lambda node: node.relay(key, request)), strict=True):
            if isinstance(answer, NodeError):
                others.append(str(answer))
            elif refused := _refused(answer.outcomes):
                refusals[client.name] = refused
                patience_seconds = max(patience_seconds, _REFUSED_SECONDS)
            else:
                others.append(f"{client.name}: says that it is final")
                patience_seconds = FINALITY_SECONDS
        session.progress(f"{what}: sent")
        if _shows(effect, patience_seconds):
            session.progress(f"{what}: final")
            return
    if len(refusals) >= QUORUM:
        said = "; ".join(f"{node}: {refused}" for node, refused in refusals.items())
        raise LedgerRefused(f"{what}: the contract refuses it ({said})")
    said = "; ".join([*others, *(f"{node}: {refused}" for node, refused in refusals.items())])
    raise NotFinalYet(f"{what}: not yet reported by two nodes ({said}). It is kept; resume later")


def _shows(effect: Effect, patience_seconds: float) -> bool:
    until = time.monotonic() + patience_seconds
    while not effect():
        if time.monotonic() > until:
            return False
        time.sleep(_PAUSE_SECONDS)
    return True


def _refused(outcomes: Sequence[RelayOutcome]) -> str:
    return "; ".join(
        outcome.refusal or "neither final nor refused" for outcome in outcomes if not outcome.final
    )[:500]
