"""Which consent to name for each record: pure, by the ledger's own rules over the final state."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ledger.decide import AccessQuery, decide
from ledger.entities import Consent, Record, RecordStatus
from ledger.messages import NO_RECORD, AccessGroup
from ledger.state import LedgerState
from vocabulary import Category, Purpose, Reason


@dataclass(frozen=True, slots=True)
class ChosenConsent:
    """A record and the consent to ask under; ``consent`` None asks under none, so that the denial is logged."""

    record: Record
    consent: Consent | None
    expected: Reason

    @property
    def nonce(self) -> int:
        """The consent's nonce; 0 for none."""
        return 0 if self.consent is None else self.consent.nonce

    @property
    def record_scope(self) -> bool:
        """Whether the consent names this very record."""
        return self.consent is not None and self.consent.record_id != NO_RECORD


def select_records(
    state: LedgerState, patient: bytes, record_ids: Sequence[bytes], categories: Collection[Category]
) -> list[Record]:
    """The named records, or all current ones of a patient in ``categories`` (none named: in all).

    Superseded and retracted records are left out unless they are named.
    """
    if record_ids:
        return [state.records[record_id] for record_id in record_ids]
    gone = RecordStatus.SUPERSEDED | RecordStatus.RETRACTED
    return [
        record
        for record in state.records.values()
        if record.patient == patient
        and not record.status & gone
        and (not categories or record.category in categories)
    ]


def choose_consents(
    state: LedgerState,
    requester: bytes,
    records: Iterable[Record],
    purpose: Purpose,
    at_seconds: int,
    openable: Collection[bytes],
) -> list[ChosenConsent]:
    """For each record the consent that opens it now, or the one that comes nearest.

    Preferred in this order: one whose keys are here (``openable``: consent ids), one without a limit of uses, the
    one that ends last. Uses that earlier records of the same call take are counted.
    """
    planned: dict[bytes, int] = {}
    chosen = []
    by_patient: dict[bytes, list[Consent]] = {}
    for record in records:
        if record.patient not in by_patient:
            by_patient[record.patient] = [
                consent
                for consent in state.consents.values()
                if consent.patient == record.patient
                and consent.grantee == requester
                and consent.granted_block
            ]
        best: tuple[tuple[int, ...], Consent | None, Reason] | None = None
        for consent in by_patient[record.patient]:
            if consent.record_id not in (NO_RECORD, record.record_id):
                continue
            query = AccessQuery(
                requester, record.record_id, consent.nonce, consent.record_id != NO_RECORD, purpose
            )
            reason = decide(state, query, at_seconds).reason
            left = consent.max_uses - consent.uses - planned.get(consent.consent_id, 0)
            if reason is Reason.PERMITTED and consent.max_uses and left <= 0:
                reason = Reason.USES_EXHAUSTED
            permitted = reason is Reason.PERMITTED
            # Among denials the rule that is found last is the nearest to a permit.
            rank = (
                permitted,
                consent.consent_id in openable if permitted else int(reason),
                not consent.max_uses,
                consent.valid_until,
            )
            if best is None or rank > best[0]:
                best = (rank, consent, reason)
        if best is None:
            query = AccessQuery(requester, record.record_id, 0, False, purpose)
            chosen.append(ChosenConsent(record, None, decide(state, query, at_seconds).reason))
            continue
        _, consent_found, reason_found = best
        if consent_found is not None and reason_found is Reason.PERMITTED and consent_found.max_uses:
            planned[consent_found.consent_id] = planned.get(consent_found.consent_id, 0) + 1
        chosen.append(ChosenConsent(record, consent_found, reason_found))
    return chosen


def group(chosen: Sequence[ChosenConsent]) -> list[tuple[AccessGroup, list[ChosenConsent]]]:
    """Groups for ``requestAccessBatch``: one a consent, record-scope consents one a record."""
    by_key: dict[tuple[bytes, int, bool, bytes], list[ChosenConsent]] = {}
    for each in chosen:
        named = each.record.record_id if each.record_scope else NO_RECORD
        by_key.setdefault((each.record.patient, each.nonce, each.record_scope, named), []).append(each)
    return [
        (AccessGroup(nonce, record_scope, tuple(each.record.record_id for each in members)), members)
        for (_, nonce, record_scope, _), members in by_key.items()
    ]
