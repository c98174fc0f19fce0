"""One person's view over all of their pseudonyms: records and consents, joined here and nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from vocabulary import Category, DayPeriod, Purpose
from wallet.content import KnownConsent, Relationship
from wallet.directory import Directory
from wallet.errors import UnknownName, WalletError
from wallet.session import Session
from wire.patients import ConsentView, RecordView

_PREFIX_DIGITS = 6


@dataclass(frozen=True, slots=True)
class OwnRecord:
    """A record of one of this wallet's pseudonyms."""

    record_id: bytes
    patient: bytes
    provider_name: str
    author_name: str
    category: Category
    period: DayPeriod
    published_at: int
    superseded: bool
    retracted: bool
    restricted: bool

    @classmethod
    def of(cls, view: RecordView, relationship: Relationship, directory: Directory) -> "OwnRecord":
        """The record with the names that people know."""
        return cls(
            record_id=view.record_id,
            patient=view.patient,
            provider_name=relationship.provider_name,
            author_name=directory.name_of(view.author),
            category=view.category,
            period=DayPeriod(view.start_day, view.end_day),
            published_at=view.published_at,
            superseded=view.superseded,
            retracted=view.retracted,
            restricted=view.restricted,
        )


@dataclass(frozen=True, slots=True)
class RecordsOverview:
    """All records that two nodes agree on, the newest first, and the pseudonyms for which none could be had."""

    records: tuple[OwnRecord, ...]
    failures: tuple[str, ...]


class ConsentState(StrEnum):
    """What a consent does at a given time."""

    UNCONFIRMED = "unconfirmed"
    """Signed and sent, but two nodes do not report it; revoking it makes sure that it never counts."""
    NOT_YET_VALID = "not-yet-valid"
    ACTIVE = "active"
    USED_UP = "used-up"
    EXPIRED = "expired"
    REVOKED = "revoked"

    @property
    def is_live(self) -> bool:
        """Whether it lets, or may still let, somebody read."""
        return self in (ConsentState.UNCONFIRMED, ConsentState.NOT_YET_VALID, ConsentState.ACTIVE)


@dataclass(frozen=True, slots=True)
class ConsentSummary:
    """A consent with the names that people know; times are POSIX seconds."""

    consent_id: bytes
    patient: bytes
    provider_name: str
    grantee: bytes
    grantee_name: str
    record_id: bytes | None
    categories: tuple[Category, ...]
    purposes: tuple[Purpose, ...]
    valid_from: int
    valid_until: int
    data_period: DayPeriod
    max_uses: int
    uses: int
    state: ConsentState
    label: str


def state_of(consent: ConsentView, now_seconds: int) -> ConsentState:
    """A consent's state at a chain time."""
    if consent.revoked:
        return ConsentState.REVOKED
    if consent.valid_until <= now_seconds:
        return ConsentState.EXPIRED
    if consent.max_uses and consent.uses >= consent.max_uses:
        return ConsentState.USED_UP
    return ConsentState.ACTIVE if consent.valid_from <= now_seconds else ConsentState.NOT_YET_VALID


def covers(consent: ConsentView, record: RecordView) -> bool:
    """Whether a consent's terms take in a record, its validity and the patient's deny policy apart."""
    if record.retracted or record.category not in consent.categories:
        return False
    named = consent.record_id == record.record_id if consent.record_id is not None else not record.restricted
    period = DayPeriod(consent.data_from, consent.data_until)
    return named and period.covers(DayPeriod(record.start_day, record.end_day))


def records_overview(session: Session) -> RecordsOverview:
    """The records of every pseudonym on the ledger, the newest first.

    A pseudonym whose nodes fail or disagree is named in ``failures``, and does not hide the others.

    Raises:
        TooFewNodes, NodesDisagree: already the members cannot be agreed on.
    """
    directory = session.directory()
    records: list[OwnRecord] = []
    failures = []
    for relationship in session.registered():
        try:
            views = session.records(relationship.patient).records
        except WalletError as error:
            failures.append(f"{relationship.provider_name}: {error}")
        else:
            records.extend(OwnRecord.of(view, relationship, directory) for view in views)
    records.sort(key=lambda record: (record.published_at, record.record_id), reverse=True)
    return RecordsOverview(tuple(records), tuple(failures))


def find_record(session: Session, text: str) -> OwnRecord:
    """The record of an id, or of the first digits of one (``0x`` and at least six).

    Raises:
        UnknownName: none, or several.
    """
    wanted = text.strip().lower()
    if not wanted.startswith("0x") or len(wanted) < 2 + _PREFIX_DIGITS:
        raise UnknownName(f"expected a record's id: 0x and at least {_PREFIX_DIGITS} digits; came {text!r}")
    overview = records_overview(session)
    found = [record for record in overview.records if ("0x" + record.record_id.hex()).startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownName(f"{len(found)} records begin with {wanted}: give more digits")
    problems = "".join(f" ({failure})" for failure in overview.failures)
    raise UnknownName(f"no record of this wallet begins with {wanted}{problems}")


def consents_overview(session: Session) -> tuple[ConsentSummary, ...]:
    """Every consent of every pseudonym, the newest validity first, those that the ledger does not have yet on top.

    Raises:
        TooFewNodes, NodesDisagree: see ``wallet.agreement``.
    """
    directory = session.directory()
    summaries = [
        summary
        for relationship in session.registered()
        for summary in _summaries(session, relationship, directory)
    ]
    summaries.sort(
        key=lambda item: (item.state is ConsentState.UNCONFIRMED, item.valid_from, item.consent_id),
        reverse=True,
    )
    return tuple(summaries)


def find_summary(session: Session, consent_id: bytes) -> ConsentSummary:
    """One consent of this wallet. For one that the vault knows, nodes are asked about its pseudonym alone.

    Raises:
        UnknownName: there is none of this id.
    """
    directory = session.directory()
    owner = {entry.consent_id: entry.patient for entry in session.content.consents}.get(consent_id)
    for relationship in session.registered():
        if owner in (None, relationship.patient):
            for summary in _summaries(session, relationship, directory):
                if summary.consent_id == consent_id:
                    return summary
    raise UnknownName(f"no consent of this wallet has the id 0x{consent_id.hex()}")


def _summaries(session: Session, relationship: Relationship, directory: Directory) -> list[ConsentSummary]:
    view = session.consents(relationship.patient)
    on_ledger = {consent.consent_id for consent in view.consents}
    known = {
        entry.consent_id: entry for entry in session.content.consents if entry.patient == relationship.patient
    }
    summaries = [
        summary_of(consent, relationship, directory, view.final.time, known) for consent in view.consents
    ]
    return summaries + [
        _as_signed(entry, relationship, ConsentState.UNCONFIRMED)
        for entry in known.values()
        if entry.consent_id not in on_ledger
    ]


def summary_of(
    consent: ConsentView,
    relationship: Relationship,
    directory: Directory,
    now_seconds: int,
    known: Mapping[bytes, KnownConsent],
) -> ConsentSummary:
    """A consent on the ledger, with the label that this wallet keeps."""
    entry = known.get(consent.consent_id)
    if (
        entry is not None and not consent.categories
    ):  # revoked before it landed: the ledger never had its terms
        return _as_signed(entry, relationship, ConsentState.REVOKED)
    return ConsentSummary(
        consent_id=consent.consent_id,
        patient=consent.patient,
        provider_name=relationship.provider_name,
        grantee=consent.grantee,
        grantee_name=directory.name_of(consent.grantee),
        record_id=consent.record_id,
        categories=consent.categories,
        purposes=consent.purposes,
        valid_from=consent.valid_from,
        valid_until=consent.valid_until,
        data_period=DayPeriod(consent.data_from, consent.data_until),
        max_uses=consent.max_uses,
        uses=consent.uses,
        state=state_of(consent, now_seconds),
        label="" if entry is None else entry.label,
    )


def _as_signed(entry: KnownConsent, relationship: Relationship, state: ConsentState) -> ConsentSummary:
    terms = entry.terms
    return ConsentSummary(
        consent_id=entry.consent_id,
        patient=entry.patient,
        provider_name=relationship.provider_name,
        grantee=entry.grantee,
        grantee_name=entry.grantee_name,
        record_id=entry.record_id,
        categories=Category.in_mask(terms.categories),
        purposes=Purpose.in_mask(terms.purposes),
        valid_from=terms.valid_from,
        valid_until=terms.valid_until,
        data_period=terms.data_period,
        max_uses=terms.max_uses,
        uses=0,
        state=state,
        label=entry.label,
    )
