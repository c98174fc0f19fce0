"""Whether events are of one piece: their parties inside and outside, and the ids that are hashes of what they name."""

from collections.abc import Iterator

from ledger.columns import LedgerColumns
from ledger.events import ConsentGranted, RecordPublished
from ledger.messages import LedgerScope, consent_id, record_id
from ledger.state import LedgerState
from ledger.verification import Divergence


def parties_divergence(columns: LedgerColumns) -> Divergence | None:
    """The parties of an event are indexed, and again in what was signed: both must be the same."""
    pairs = (
        (RecordPublished, "patient", "publication.patient"),
        (ConsentGranted, "patient", "terms.patient"),
        (ConsentGranted, "grantee", "terms.grantee"),
    )
    for kind, outside, inside in pairs:
        events = columns.fixed[kind]
        differ = (events.address(outside) != events.address(inside)).any(axis=1)
        for row in differ.nonzero()[0][:1]:
            number, index = int(events.block_number[row]), int(events.log_index[row])
            return Divergence(
                3,
                f"{kind.__name__} at log {index} of block {number}: {inside}",
                "0x" + events.address(outside)[row].tobytes().hex(),
                "0x" + events.address(inside)[row].tobytes().hex(),
                number,
            )
    return None


def ids_divergence(scope: LedgerScope, state: LedgerState) -> Divergence | None:
    """Each id is the hash of what it names, so that no event can be said to be of another record or consent."""
    for what, number, found, expected in _computed_ids(scope, state):
        if found != expected:
            return Divergence(3, f"{what}: its id", "0x" + expected.hex(), "0x" + found.hex(), number)
    return None


def _computed_ids(scope: LedgerScope, state: LedgerState) -> Iterator[tuple[str, int, bytes, bytes]]:
    for record in state.records.values():
        computed = record_id(scope, record.author, record.patient, record.nonce)
        yield f"record 0x{record.record_id.hex()}", record.published_block, record.record_id, computed
    for consent in state.consents.values():
        # A consent that was revoked before it landed has no event that tells its nonce.
        if consent.granted_block is not None:
            parties = (consent.patient, consent.grantee, consent.record_id, consent.nonce)
            what = f"consent 0x{consent.consent_id.hex()}"
            yield what, consent.granted_block, consent.consent_id, consent_id(scope, *parties)
