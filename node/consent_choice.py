"""Which consent to name for each record: pure, by the ledger's own rules over the final state."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ledger.decide import AccessQuery, decide
from ledger.entities import Consent, ConsentStatus, Record, RecordStatus
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
        for record in state.records_of(patient)
        if not record.status & gone and (not categories or record.category in categories)
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
    one that ends last. Uses that earlier records of the same call take are counted. Consents that are over or not
    yet begun are looked at only where no other is: whatever the record, they come less near.
    """
    choice = _Choice(state, requester, purpose, at_seconds, openable)
    return [choice.choose(record) for record in records]


class _Choice:
    """One call's consents, the most preferred first, and the uses that it plans."""

    def __init__(
        self,
        state: LedgerState,
        requester: bytes,
        purpose: Purpose,
        at_seconds: int,
        openable: Collection[bytes],
    ) -> None:
        self._state = state
        self._requester = requester
        self._purpose = purpose
        self._at_seconds = at_seconds
        self._openable = openable
        self._planned: dict[bytes, int] = {}
        self._by_patient: dict[bytes, tuple[list[Consent], list[Consent]]] = {}

    def choose(self, record: Record) -> ChosenConsent:
        live, over = self._consents(record.patient)
        nearest = ChosenConsent(record, None, self._decide(record, None))
        for consent in live:
            if consent.record_id not in (NO_RECORD, record.record_id):
                continue
            reason = self._decide(record, consent)
            if reason is Reason.PERMITTED:
                self._planned[consent.consent_id] = self._planned.get(consent.consent_id, 0) + 1
                return ChosenConsent(record, consent, reason)
            # Among denials the rule that is found last is the nearest to a permit.
            if nearest.consent is None or reason > nearest.expected:
                nearest = ChosenConsent(record, consent, reason)
        if nearest.consent is None:
            for consent in over:
                if consent.record_id in (NO_RECORD, record.record_id):
                    return ChosenConsent(record, consent, self._decide(record, consent))
        return nearest

    def _consents(self, patient: bytes) -> tuple[list[Consent], list[Consent]]:
        """Those in force, and the others, each with the most preferred first."""
        if patient not in self._by_patient:
            granted = [
                consent
                for consent in self._state.consents_of(patient)
                if consent.grantee == self._requester and consent.granted_block is not None
            ]
            granted.sort(key=self._preference, reverse=True)
            live = [consent for consent in granted if self._in_force(consent)]
            over = [consent for consent in granted if not self._in_force(consent)]
            self._by_patient[patient] = (live, over)
        return self._by_patient[patient]

    def _preference(self, consent: Consent) -> tuple[bool, bool, bool, int]:
        revoked = consent.status is ConsentStatus.REVOKED
        return (
            not revoked,
            consent.consent_id in self._openable,
            not consent.max_uses,
            consent.valid_until,
        )

    def _in_force(self, consent: Consent) -> bool:
        in_time = consent.valid_from <= self._at_seconds < consent.valid_until
        return in_time and consent.status is ConsentStatus.GRANTED

    def _decide(self, record: Record, consent: Consent | None) -> Reason:
        nonce = 0 if consent is None else consent.nonce
        named = consent is not None and consent.record_id != NO_RECORD
        query = AccessQuery(self._requester, record.record_id, nonce, named, self._purpose)
        reason = decide(self._state, query, self._at_seconds).reason
        if reason is Reason.PERMITTED and consent is not None and consent.max_uses:
            planned = self._planned.get(consent.consent_id, 0)
            if consent.uses + planned >= consent.max_uses:
                return Reason.USES_EXHAUSTED
        return reason


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
