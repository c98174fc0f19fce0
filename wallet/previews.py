"""What an act would change, computed before it is signed, for a person to look at first."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from vocabulary import SENSITIVE_CATEGORIES, Category, DayPeriod, Purpose, Reason, Role
from wallet.content import KnownConsent, Relationship
from wallet.overview import ConsentSummary, OwnRecord, covers, state_of
from wallet.terms import GrantWish, Terms
from wire.ledger import MemberView
from wire.patients import AccessView, ConsentView, RecordView


@dataclass(frozen=True, slots=True)
class PlannedGrant:
    """One consent to be signed: from one pseudonym to one member."""

    patient: bytes
    provider_name: str
    grantee: bytes
    grantee_name: str
    records: int
    """Records that it covers today; later ones join them."""
    records_by_category: tuple[tuple[Category, int], ...]


@dataclass(frozen=True, slots=True)
class LinkedPseudonyms:
    """A member that learns, by this grant, that pseudonyms with these providers are one person."""

    grantee_name: str
    provider_names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GrantPreview:
    """What a grant would do. ``Wallet.grant`` signs exactly this."""

    wish: GrantWish
    terms: Terms
    grants: tuple[PlannedGrant, ...]
    linked: tuple[LinkedPseudonyms, ...]
    sensitive: tuple[Category, ...]
    warnings: tuple[str, ...]

    @property
    def last_day(self) -> date:
        """The last day on which it can be used, UTC."""
        return self.terms.last_day


@dataclass(frozen=True, slots=True)
class RevocationPreview:
    """What a revocation would do, and what it cannot undo."""

    consent: ConsentSummary
    records_lost: int
    """Records that the grantee could read and, without any other consent, no longer can."""
    records_read: int
    """Of all records, those whose reading was permitted under this consent: they may have been read."""
    reads: int
    rotated: tuple[Category, ...]
    staying: tuple[str, ...]
    """Grantees of other consents in these categories; they get the new secrets."""
    history_detail: str = ""
    """Why it is not known what was read, ``records_read`` and ``reads`` being 0 then; else empty."""


@dataclass(frozen=True, slots=True)
class PolicyChange:
    """A pseudonym's deny policy before and after."""

    patient: bytes
    provider_name: str
    categories_before: tuple[Category, ...]
    categories_after: tuple[Category, ...]
    purposes_before: tuple[Purpose, ...]
    purposes_after: tuple[Purpose, ...]


@dataclass(frozen=True, slots=True)
class PolicyPreview:
    """What a change of the deny policy would do."""

    changes: tuple[PolicyChange, ...]
    records_closed: int
    """Records in categories that become denied."""
    records_opened: int
    """Records in categories that are denied no longer; consents given earlier then count again."""
    consents_affected: tuple[ConsentSummary, ...]


@dataclass(frozen=True, slots=True)
class RestrictionPreview:
    """Who can read a record today, and no longer could once it is restricted."""

    record: OwnRecord
    losing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClosingPseudonym:
    """A pseudonym that is to be ended or frozen."""

    patient: bytes
    provider_name: str
    records: int
    live_consents: int


@dataclass(frozen=True, slots=True)
class ClosingPreview:
    """Which pseudonyms an end or a freeze concerns."""

    pseudonyms: tuple[ClosingPseudonym, ...]


def plan_grant(
    wish: GrantWish,
    terms: Terms,
    grantees: Sequence[MemberView],
    holders: Sequence[tuple[Relationship, Sequence[RecordView]]],
    known: Sequence[KnownConsent],
    provider_names: Mapping[bytes, str],
) -> GrantPreview:
    """The consents that a wish comes to.

    Args:
        grantees: members that were named, each once.
        holders: pseudonyms to grant from, with their records.
        known: every consent that this wallet gave: with whom pseudonyms are linked already.
        provider_names: provider's name by pseudonym.
    """
    as_granted = {relationship.patient: _covered(terms, wish, records) for relationship, records in holders}
    grants = []
    for grantee in grantees:
        for relationship, _ in holders:
            covered = as_granted[relationship.patient]
            counts = Counter(record.category for record in covered)
            grants.append(
                PlannedGrant(
                    patient=relationship.patient,
                    provider_name=relationship.provider_name,
                    grantee=grantee.address,
                    grantee_name=grantee.name,
                    records=len(covered),
                    records_by_category=tuple(sorted(counts.items())),
                )
            )
    linked = []
    for grantee in grantees:
        before = {consent.patient for consent in known if consent.grantee == grantee.address}
        after = before | set(as_granted)
        if len(after) > 1 and after != before:
            names = tuple(sorted(provider_names.get(patient, "0x" + patient.hex()) for patient in after))
            linked.append(LinkedPseudonyms(grantee.name, names))
    categories = Category.in_mask(terms.categories)
    return GrantPreview(
        wish=wish,
        terms=terms,
        grants=tuple(grants),
        linked=tuple(linked),
        sensitive=tuple(category for category in categories if category in SENSITIVE_CATEGORIES),
        warnings=tuple(_warnings(wish, grantees)),
    )


def _covered(terms: Terms, wish: GrantWish, records: Sequence[RecordView]) -> list[RecordView]:
    categories = Category.in_mask(terms.categories)
    return [
        record
        for record in records
        if not record.retracted
        and record.category in categories
        and (record.record_id == wish.record_id if wish.record_id is not None else not record.restricted)
        and terms.data_period.covers(DayPeriod(record.start_day, record.end_day))
    ]


def _warnings(wish: GrantWish, grantees: Sequence[MemberView]) -> list[str]:
    warnings = []
    for grantee in grantees:
        for purpose in wish.purposes:
            role = Role.RESEARCHER if purpose is Purpose.HRESCH else Role.CONSUMER
            if role not in grantee.roles:
                warnings.append(
                    f"{grantee.name} has not the role {role.label}: a request for {purpose.label} will be denied"
                )
    return warnings


def plan_revocation(
    consent: ConsentSummary,
    rotated: Sequence[Category],
    consents: Sequence[ConsentView],
    records: Sequence[RecordView],
    accesses: Sequence[AccessView],
    names: Mapping[bytes, str],
    now_seconds: int,
) -> RevocationPreview:
    """What revoking a consent comes to, from the state of its pseudonym at chain time ``now_seconds``."""
    live = [item for item in consents if state_of(item, now_seconds).is_live]
    own = [item for item in live if item.consent_id == consent.consent_id]
    others = [item for item in live if item.consent_id != consent.consent_id]
    same_grantee = [item for item in others if item.grantee == consent.grantee]
    lost = [
        record
        for record in records
        if any(covers(item, record) for item in own)
        and not any(covers(item, record) for item in same_grantee)
    ]
    permitted = [
        access
        for access in accesses
        if access.consent_id == consent.consent_id and access.reason is Reason.PERMITTED
    ]
    staying = {
        names.get(item.grantee, "0x" + item.grantee.hex())
        for item in others
        if item.record_id is None and set(item.categories) & set(rotated)
    }
    return RevocationPreview(
        consent=consent,
        records_lost=len(lost),
        records_read=len({access.record_id for access in permitted}),
        reads=len(permitted),
        rotated=tuple(rotated),
        staying=tuple(sorted(staying)),
    )
