"""Housekeeping of a custodian: deposits whose record never came to the ledger, and blocks that nothing needs.

A deposit is an orphan only when final time has passed its deadline and no RecordPublished names its header: past
the deadline the contract takes it no more, so nothing that could still be published is ever lost.
"""

from dataclasses import dataclass

from node.blocks import BlockService
from node.collaborators import Ledger
from node.deposits import DepositStore


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep removed."""

    deposits: int
    blocks: int


class OrphanSweeper:
    """Purges orphans; run it at intervals."""

    def __init__(self, ledger: Ledger, store: DepositStore, blocks: BlockService) -> None:
        self._ledger = ledger
        self._store = store
        self._blocks = blocks

    def sweep(self) -> Swept:
        """Marks deposits whose records are final, purges the orphans, then the blocks that nothing needs."""
        purged = 0
        snapshot = self._ledger.snapshot()
        for deposit in self._store.not_on_ledger():
            record = snapshot.state.records.get(deposit.record_id)
            if record is not None and record.header_digest == deposit.header_digest:
                self._store.mark_on_ledger(deposit)
            elif snapshot.final.time > deposit.deadline:
                purged += self._store.purge(deposit)
        return Swept(purged, self._blocks.sweep())
