"""The terms of a consent: what a person wishes, and the ledger's fields that say it.

Times are rounded to days of UTC, so that a consent does not carry the second at which somebody sat at a phone:
two pseudonyms of one person shall not be recognised by equal times.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime

from pydantic import BaseModel, ConfigDict, Field

from ledger.messages import NO_RECORD, Grant
from vocabulary import UNDATED, Category, DayPeriod, Purpose, category_mask, purpose_mask
from wallet.errors import InvalidTerms
from wire.limits import INTRODUCTION_CHARACTERS
from wire.patients import ConsentView

DAY_SECONDS = 86_400
MAX_VALID_DAYS = 3_660
"""Ten years: a consent that outlives its reason is not one."""
MAX_USES = 2**24 - 1
DEADLINE_SECONDS = 3_000
"""How long after the agreed block a grant may still land; the contract takes at most an hour."""


@dataclass(frozen=True, slots=True)
class GrantWish:
    """What a person wishes to grant, in their own words' terms.

    Attributes:
        grantees: names or addresses of members.
        categories: for a consent by category, at least one; leave empty when ``record_id`` names a record.
        record_id: for a consent to one record only, 32 bytes.
        purposes: at least one.
        valid_days: the last day of use is ``starts_on`` plus this; 0 means that day only.
        starts_on: the first day, UTC; None means today.
        data_period: the days whose records are covered; a record must lie inside as a whole.
        max_uses: 0 = unlimited.
        introduction: how the person wishes to be recognised by the grantee's staff; never on the ledger.
        label: a note for oneself; stays in the vault.
        patients: the pseudonyms to grant from; None means all that hold such records.
    """

    grantees: tuple[str, ...]
    purposes: tuple[Purpose, ...]
    valid_days: int
    categories: tuple[Category, ...] = ()
    record_id: bytes | None = None
    starts_on: date | None = None
    data_period: DayPeriod = UNDATED
    max_uses: int = 0
    introduction: str = ""
    label: str = ""
    patients: tuple[bytes, ...] | None = None

    def __post_init__(self) -> None:
        if not self.grantees:
            raise InvalidTerms("expected at least one member to grant to; came none")
        if not self.purposes:
            raise InvalidTerms("expected at least one purpose; came none")
        if bool(self.categories) == (self.record_id is not None):
            raise InvalidTerms("expected either categories or one record; came both or neither")
        if not 0 <= self.valid_days <= MAX_VALID_DAYS:
            raise InvalidTerms(f"expected 0 to {MAX_VALID_DAYS} days; came {self.valid_days}")
        if not 0 <= self.max_uses <= MAX_USES:
            raise InvalidTerms(f"expected 0 (unlimited) to {MAX_USES} uses; came {self.max_uses}")
        if len(self.introduction) > INTRODUCTION_CHARACTERS:
            raise InvalidTerms(f"expected an introduction of at most {INTRODUCTION_CHARACTERS} characters")
        if not self.introduction.isprintable():
            raise InvalidTerms("expected an introduction in one line of printable characters")
        if Purpose.BTG in self.purposes:
            raise InvalidTerms("break the glass (BTG) is not granted: it is for emergencies without consent")


class Terms(BaseModel):
    """The same as the ledger has it: masks, POSIX seconds, day ordinals."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    categories: int = Field(ge=0, lt=2**32)
    purposes: int = Field(ge=0, lt=2**16)
    valid_from: int = Field(ge=0, lt=2**40)
    valid_until: int = Field(ge=0, lt=2**40)
    data_from: int = Field(ge=0, lt=2**24)
    data_until: int = Field(ge=0, lt=2**24)
    max_uses: int = Field(ge=0, lt=2**24)

    @classmethod
    def of(cls, wish: GrantWish, categories: tuple[Category, ...], now_seconds: int) -> "Terms":
        """The terms of a wish at chain time ``now_seconds``; ``categories`` are the record's for one record.

        Raises:
            InvalidTerms: it would end before it begins, or has ended already.
        """
        today = datetime.fromtimestamp(now_seconds, UTC).date()
        first = wish.starts_on or today
        if first < today:
            raise InvalidTerms(f"expected a first day from {today} (UTC) on; came {first}")
        valid_from = midnight_seconds(first)
        return cls(
            categories=category_mask(categories),
            purposes=purpose_mask(wish.purposes),
            valid_from=valid_from,
            valid_until=valid_from + (wish.valid_days + 1) * DAY_SECONDS,
            data_from=wish.data_period.start_day,
            data_until=wish.data_period.end_day,
            max_uses=wish.max_uses,
        )

    @classmethod
    def on_ledger(cls, consent: ConsentView) -> "Terms":
        """The terms of a consent on the ledger."""
        return cls(
            categories=category_mask(consent.categories),
            purposes=purpose_mask(consent.purposes),
            valid_from=consent.valid_from,
            valid_until=consent.valid_until,
            data_from=consent.data_from,
            data_until=consent.data_until,
            max_uses=consent.max_uses,
        )

    @property
    def last_day(self) -> date:
        """The last day of use, UTC."""
        return datetime.fromtimestamp(self.valid_until - 1, UTC).date()

    @property
    def data_period(self) -> DayPeriod:
        """The days whose records are covered."""
        return DayPeriod(self.data_from, self.data_until)

    def grant(
        self, patient: bytes, grantee: bytes, record_id: bytes | None, nonce: int, now_seconds: int
    ) -> Grant:
        """The message to sign, good until ``DEADLINE_SECONDS`` after ``now_seconds``."""
        return Grant(
            patient=patient,
            grantee=grantee,
            record_id=record_id or NO_RECORD,
            categories=self.categories,
            purposes=self.purposes,
            valid_from=self.valid_from,
            valid_until=self.valid_until,
            data_from=self.data_from,
            data_until=self.data_until,
            max_uses=self.max_uses,
            flags=0,
            nonce=nonce,
            deadline=now_seconds + DEADLINE_SECONDS,
        )


def midnight_seconds(day: date) -> int:
    """The UTC midnight at which ``day`` begins, POSIX seconds."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def fresh_nonce() -> int:
    """64 random bits: the consent id's salt and the ledger's replay guard."""
    return secrets.randbits(64)
