"""The ledger's state in the words of the wire: from entities to messages, nothing decided."""

from collections.abc import Mapping

from ledger.entities import Consent, ConsentStatus, Member, Patient, PatientStatus, Record, RecordStatus
from ledger.messages import NO_RECORD
from node.ledger_view import FinalAccess, FinalBlock
from storage import Cid
from vocabulary import Category, Purpose, Role
from wire.ledger import BlockReference, MemberView
from wire.patients import AccessView, ConsentView, PatientView, RecordView

_STATUS = {
    PatientStatus.ACTIVE: "active",
    PatientStatus.RELATIONSHIP_ENDED: "ended",
    PatientStatus.FROZEN: "frozen",
}


def block_reference(block: FinalBlock) -> BlockReference:
    """A final block."""
    return BlockReference(number=block.number, hash=block.hash, time=block.time)


def member_view(member: Member) -> MemberView:
    """A member with its keys in force."""
    keys = member.current_keys
    return MemberView(
        address=member.address,
        name=keys.name,
        endpoint=keys.endpoint,
        roles=Role.in_mask(member.roles),
        active=member.active,
        key_version=keys.version,
        encryption_key=keys.encryption_key,
        transport_key=keys.transport_key,
    )


def patient_view(patient: Patient, final: FinalBlock) -> PatientView:
    """A pseudonym's state."""
    return PatientView(
        final=block_reference(final),
        patient=patient.address,
        provider=patient.provider,
        epoch=patient.epoch,
        status=_STATUS[patient.status],
        keyring_digest=patient.keyring_digests[-1],
        denied_categories=Category.in_mask(patient.deny_categories),
        denied_purposes=Purpose.in_mask(patient.deny_purposes),
        policy_nonce=patient.policy_nonce,
    )


def record_view(record: Record, block_times: Mapping[int, int]) -> RecordView:
    """A record; ``block_times`` holds the time of its block."""
    return RecordView(
        record_id=record.record_id,
        patient=record.patient,
        author=record.author,
        category=Category(record.category),
        start_day=record.start_day,
        end_day=record.end_day,
        epoch=record.epoch,
        superseded=RecordStatus.SUPERSEDED in record.status,
        retracted=RecordStatus.RETRACTED in record.status,
        restricted=RecordStatus.RESTRICTED in record.status,
        status_nonce=record.status_nonce,
        cid=str(Cid.from_parts(record.cid_codec, record.cid_digest)),
        header_digest=record.header_digest,
        payload_commitment=record.payload_commitment,
        published_at=block_times[record.published_block],
    )


def consent_view(consent: Consent) -> ConsentView:
    """A consent."""
    return ConsentView(
        consent_id=consent.consent_id,
        patient=consent.patient,
        grantee=consent.grantee,
        record_id=None if consent.record_id == NO_RECORD else consent.record_id,
        categories=Category.in_mask(consent.categories),
        purposes=Purpose.in_mask(consent.purposes),
        valid_from=consent.valid_from,
        valid_until=consent.valid_until,
        data_from=consent.data_from,
        data_until=consent.data_until,
        max_uses=consent.max_uses,
        uses=consent.uses,
        nonce=consent.nonce,
        revoked=consent.status is ConsentStatus.REVOKED,
    )


def access_view(access: FinalAccess) -> AccessView:
    """One decision of the access log."""
    return AccessView(
        patient=access.patient,
        sequence=access.sequence,
        record_id=access.record_id,
        requester=access.requester,
        consent_id=access.consent_id,
        purpose=access.purpose,
        reason=access.reason,
        time=access.time,
        block_number=access.block_number,
        transaction_hash=access.transaction_hash,
        response_key_digest=access.response_key_digest,
        person_commitment=access.person_commitment,
    )
