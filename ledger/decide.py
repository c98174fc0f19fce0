"""Decides an access as the contract does (``AccessLog.requestAccess``): pure, total, and in the same order.

Custodians decide again with this before they release a share, so it may never disagree with the contract; a test
compares the two on thousands of generated decisions.
"""

from dataclasses import dataclass

from ledger.addresses import to_text
from ledger.entities import Consent, ConsentStatus, Member, Patient, PatientStatus, Record, RecordStatus
from ledger.errors import UnknownMember, UnknownPurpose, UnknownRecord
from ledger.messages import NO_RECORD, consent_id
from ledger.state import LedgerState
from vocabulary import Purpose, Reason, Role


@dataclass(frozen=True, slots=True)
class AccessQuery:
    """Who asks for which record, for what (a code of ``Purpose``), under which consent of the record's patient.

    ``record_scope``: the consent names this very record; else it covers categories.
    """

    requester: bytes
    record_id: bytes
    consent_nonce: int
    record_scope: bool
    purpose: int


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision's reason, and the patient and consent that it concerns (the consent may not exist)."""

    reason: Reason
    patient: bytes
    consent_id: bytes

    @property
    def permitted(self) -> bool:
        """Whether the record may be read."""
        return self.reason is Reason.PERMITTED


def decide(state: LedgerState, query: AccessQuery, at_seconds: int, *, check_uses: bool = True) -> Decision:
    """Decides ``query`` at chain time ``at_seconds`` (POSIX), the first applicable reason being the answer.

    ``check_uses=False`` leaves out the last rule: for a custodian, after the access itself has used one use.

    Raises:
        UnknownRecord: no such record was published.
        UnknownMember: the requester was never enrolled.
        UnknownPurpose: no purpose has this code.
    """
    try:
        purpose = Purpose(query.purpose)
    except ValueError:
        raise UnknownPurpose(f"expected a purpose of 0 to {max(Purpose)}; came {query.purpose}") from None
    requester = state.members.get(query.requester)
    if requester is None:
        raise UnknownMember(f"no member was ever enrolled as {to_text(query.requester)}")
    record = state.records.get(query.record_id)
    if record is None:
        raise UnknownRecord(f"no record 0x{query.record_id.hex()} was published on this ledger")
    patient = state.patients[record.patient]
    named_record = query.record_id if query.record_scope else NO_RECORD
    named = consent_id(state.scope, patient.address, query.requester, named_record, query.consent_nonce)
    reason = _before_consent(requester, patient, record, purpose, query.record_scope)
    if reason is None:
        reason = _under_consent(state.consents.get(named), record, purpose, at_seconds, check_uses)
    return Decision(reason, patient.address, named)


def role_needed(purpose: Purpose) -> Role | None:
    """The role that admits a purpose; None for break-the-glass, which no role admits yet."""
    if purpose is Purpose.BTG:
        return None
    return Role.RESEARCHER if purpose is Purpose.HRESCH else Role.CONSUMER


def _before_consent(
    requester: Member, patient: Patient, record: Record, purpose: Purpose, record_scope: bool
) -> Reason | None:
    role = role_needed(purpose)
    if not requester.active:
        return Reason.MEMBER_SUSPENDED
    if role is None or not requester.roles & role.bit:
        return Reason.ROLE_LACKING
    if patient.status is PatientStatus.FROZEN:
        return Reason.PATIENT_FROZEN
    if RecordStatus.RETRACTED in record.status:
        return Reason.RECORD_RETRACTED
    if RecordStatus.RESTRICTED in record.status and not record_scope:
        return Reason.RECORD_RESTRICTED
    if patient.deny_categories >> record.category & 1:
        return Reason.CATEGORY_DENIED
    if patient.deny_purposes & purpose.bit:
        return Reason.PURPOSE_DENIED
    return None


def _under_consent(
    consent: Consent | None, record: Record, purpose: Purpose, at_seconds: int, check_uses: bool
) -> Reason:
    if consent is None:
        return Reason.NO_CONSENT
    if consent.status is ConsentStatus.REVOKED:
        return Reason.CONSENT_REVOKED
    if at_seconds < consent.valid_from:
        return Reason.CONSENT_NOT_YET_VALID
    if at_seconds >= consent.valid_until:
        return Reason.CONSENT_EXPIRED
    if not consent.categories >> record.category & 1:
        return Reason.CATEGORY_NOT_COVERED
    if not consent.purposes & purpose.bit:
        return Reason.PURPOSE_NOT_COVERED
    if not (consent.data_from <= record.start_day and record.end_day <= consent.data_until):
        return Reason.DATA_PERIOD_NOT_COVERED
    if check_uses and consent.max_uses and consent.uses >= consent.max_uses:
        return Reason.USES_EXHAUSTED
    return Reason.PERMITTED
