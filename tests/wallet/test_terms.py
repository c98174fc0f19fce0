"""Terms: rounded to days, valid on the ledger, and never what nobody can mean."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocabulary import Category, DayPeriod, Purpose
from wallet.terms import DAY_SECONDS, DEADLINE_SECONDS, MAX_VALID_DAYS, GrantWish, InvalidTerms, Terms

LABORATORY = (Category.LABORATORY,)


def wish(**changes: object) -> GrantWish:
    values: dict[str, object] = {
        "grantees": ("Clinic",),
        "purposes": (Purpose.TREAT,),
        "valid_days": 90,
        "categories": LABORATORY,
    }
    return GrantWish(**{**values, **changes})  # type: ignore[arg-type]


@given(now=st.integers(0, 2**32), days=st.integers(0, MAX_VALID_DAYS), later=st.integers(0, 365))
def test_terms_of_any_wish_begin_and_end_at_utc_midnights(now: int, days: int, later: int) -> None:
    today = datetime.fromtimestamp(now, UTC).date()
    terms = Terms.of(wish(valid_days=days, starts_on=today + timedelta(later)), LABORATORY, now)
    assert terms.valid_from % DAY_SECONDS == 0
    assert terms.valid_until % DAY_SECONDS == 0
    assert terms.valid_until > now
    assert terms.last_day == today + timedelta(later + days)


def test_terms_of_a_wish_for_today_are_in_force_at_once() -> None:
    now = 1_800_000_000
    terms = Terms.of(wish(), LABORATORY, now)
    assert terms.valid_from <= now < terms.valid_until


def test_terms_of_equal_wishes_within_a_day_are_equal() -> None:
    # Two pseudonyms shall not be recognised by the second at which both were granted.
    midnight = 1_800_000_000 // DAY_SECONDS * DAY_SECONDS
    assert Terms.of(wish(), LABORATORY, midnight) == Terms.of(wish(), LABORATORY, midnight + DAY_SECONDS - 1)


def test_terms_that_begin_before_today_are_refused() -> None:
    with pytest.raises(InvalidTerms, match="first day"):
        Terms.of(wish(starts_on=date(2020, 1, 1)), LABORATORY, 1_800_000_000)


def test_grant_message_has_the_terms_and_a_deadline_within_the_contract_limit() -> None:
    now = 1_800_000_000
    terms = Terms.of(wish(data_period=DayPeriod(700_000, 710_000), max_uses=3), LABORATORY, now)
    message = terms.grant(bytes(20), b"g" * 20, None, 99, now)
    assert message.deadline == now + DEADLINE_SECONDS
    assert DEADLINE_SECONDS < 3600
    assert (message.data_from, message.data_until, message.max_uses) == (700_000, 710_000, 3)
    assert message.record_id == bytes(32)
    assert message.categories == Category.LABORATORY.bit


@pytest.mark.parametrize(
    "changes",
    [
        {"grantees": ()},
        {"purposes": ()},
        {"categories": ()},
        {"record_id": bytes(32)},
        {"valid_days": -1},
        {"valid_days": MAX_VALID_DAYS + 1},
        {"max_uses": -1},
        {"max_uses": 2**24},
        {"introduction": "x" * 201},
        {"introduction": "two\nlines"},
        {"purposes": (Purpose.TREAT, Purpose.BTG)},
    ],
)
def test_wish_that_nobody_can_mean_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidTerms):
        wish(**changes)
