"""The fold of a whole history read as columns: the same state as ``ledger.state.fold`` gives, at many times its speed.

Most of a history are decisions on accesses. They are folded here without an object for each, with one hash a
decision and one more a group; every other event goes through ``ledger.state.apply``.
"""

from collections.abc import Callable
from dataclasses import replace

from ledger import state as row_fold
from ledger.addresses import to_text
from ledger.columns import LedgerColumns
from ledger.decision_columns import DecisionRow
from ledger.errors import StateInconsistent
from ledger.events import Event
from ledger.heads import access_digest, head_count, linked_access_word
from ledger.messages import LedgerScope
from ledger.state import LedgerState
from vocabulary import Reason

Observer = Callable[[int, LedgerState], None]
"""Told the number of a block, and the state after it, which it must not change."""


def fold_columns(scope: LedgerScope, columns: LedgerColumns, observe: Observer | None = None) -> LedgerState:
    """The state after a whole history.

    Args:
        observe: called after each block that has an event, for whoever looks for the block of a divergence.

    Raises:
        StateInconsistent: an event cannot follow those before it: one was missed, repeated or altered.
    """
    return _Fold(scope, columns, observe).run()


class _Fold:
    def __init__(self, scope: LedgerScope, columns: LedgerColumns, observe: Observer | None) -> None:
        self.state = LedgerState(scope)
        self._columns = columns
        self._observe = observe
        self._block: int | None = None
        self._group = (-1, -1)
        self._digest = b""

    def run(self) -> LedgerState:
        changes = iter(self._columns.changes())
        change = next(changes, None)
        for row in self._columns.decisions.rows():
            place = row[:2]
            while change is not None and _place(change) < place:
                self._change(change)
                change = next(changes, None)
            self._decision(row)
        while change is not None:
            self._change(change)
            change = next(changes, None)
        self._end_block()
        return self.state

    def _change(self, event: Event) -> None:
        self._enter(event.position.block_number)
        row_fold.apply(self.state, event)

    def _decision(self, row: DecisionRow) -> None:
        state = self.state
        if row.block_number != self._block:
            self._enter(row.block_number)
        if row[:2] != self._group:
            self._begin_group(row)
        word = state.access_words[row.patient]
        if row.sequence != head_count(word) + 1:
            raise _inconsistent(row, f"access {head_count(word) + 1} of patient {to_text(row.patient)}")
        if row.record_id not in state.records:
            raise _inconsistent(row, f"a published record 0x{row.record_id.hex()}")
        if row.reason == Reason.PERMITTED:
            consent = state.consents.get(row.consent_id)
            if consent is None:
                raise _inconsistent(row, f"a granted consent 0x{row.consent_id.hex()}")
            if consent.max_uses:
                state.consents[row.consent_id] = replace(consent, uses=consent.uses + 1)
        state.access_words[row.patient] = linked_access_word(
            word, row.sequence, row.reason, row.record_id, self._digest
        )

    def _begin_group(self, row: DecisionRow) -> None:
        if row.patient not in self.state.patients:
            raise _inconsistent(row, f"a registered patient {to_text(row.patient)}")
        if row.requester not in self.state.members:
            raise _inconsistent(row, f"an enrolled member {to_text(row.requester)}")
        self._group = row[:2]
        self._digest = access_digest(
            row.consent_id,
            row.requester,
            row.purpose,
            row.response_key_digest,
            row.person_commitment,
            row.time,
        )

    def _enter(self, block_number: int) -> None:
        if block_number != self._block:
            self._end_block()
            self._block = block_number

    def _end_block(self) -> None:
        if self._block is not None and self._observe is not None:
            self._observe(self._block, self.state)


def _place(event: Event) -> tuple[int, int]:
    return event.position.block_number, event.position.log_index


def _inconsistent(row: DecisionRow, expected: str) -> StateInconsistent:
    return StateInconsistent("The decision on an access", row.block_number, row.log_index, expected)
