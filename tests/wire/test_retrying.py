"""When requests are sent again: what, how often, and after how long."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.retrying import (
    ATTEMPTS,
    FIRST_WINDOW_SECONDS,
    LONGEST_RETRY_AFTER_SECONDS,
    Repeatable,
    SendAgain,
    retry_after_seconds,
    send,
)


class Refused(Exception):
    """What the caller sees."""


class Attempts:
    """Fails as it is told, then answers; a clock that sleeping moves."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.made = 0
        self.slept: list[float] = []
        self.now = 0.0

    def __call__(self) -> str:
        self.made += 1
        if self.failures:
            raise self.failures.pop(0)
        return "answer"

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def send(self, total_seconds: float = 60.0, repeatable: Repeatable = Repeatable.ALWAYS) -> str:
        return send(self, total_seconds, repeatable, sleep=self.sleep, monotonic=lambda: self.now)


def again(*, heard: bool = True, after_seconds: float | None = None) -> SendAgain:
    return SendAgain(Refused("no"), heard=heard, after_seconds=after_seconds)


def test_send_that_fails_twice_answers_at_the_third_attempt_with_growing_windows():
    attempts = Attempts(again(), again())
    assert attempts.send() == "answer"
    assert attempts.made == 3
    first, second = attempts.slept
    assert 0 <= first <= FIRST_WINDOW_SECONDS
    assert 0 <= second <= 2 * FIRST_WINDOW_SECONDS


def test_send_waits_a_different_time_each_time():
    waits = set()
    for _ in range(20):
        attempts = Attempts(again())
        attempts.send()
        waits |= set(attempts.slept)
    assert len(waits) > 10


def test_send_that_never_succeeds_ends_with_the_callers_error():
    attempts = Attempts(*(again() for _ in range(ATTEMPTS + 3)))
    with pytest.raises(Refused):
        attempts.send()
    assert attempts.made == ATTEMPTS


def test_send_of_what_may_have_been_acted_upon_is_not_repeated():
    attempts = Attempts(again(heard=True))
    with pytest.raises(Refused):
        attempts.send(repeatable=Repeatable.IF_UNHEARD)
    assert attempts.made == 1


def test_send_of_what_surely_was_not_heard_is_repeated():
    attempts = Attempts(again(heard=False))
    assert attempts.send(repeatable=Repeatable.IF_UNHEARD) == "answer"


def test_send_waits_at_least_as_long_as_it_was_asked_to():
    attempts = Attempts(again(heard=False, after_seconds=7.0))
    attempts.send()
    assert attempts.slept[0] >= 7.0


def test_send_asked_to_wait_beyond_its_time_says_so_at_once():
    for total_seconds, after_seconds in ((5.0, 6.0), (1e6, LONGEST_RETRY_AFTER_SECONDS + 1)):
        attempts = Attempts(again(heard=False, after_seconds=after_seconds))
        with pytest.raises(Refused):
            attempts.send(total_seconds=total_seconds)
        assert attempts.slept == []


def test_send_passes_other_errors_on_at_once():
    attempts = Attempts(ValueError("not to be repeated"))
    with pytest.raises(ValueError, match="not to be repeated"):
        attempts.send()
    assert attempts.made == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [("3", 3.0), (" 120 ", 120.0), ("soon", None), ("", None), ("-1", None), ("1e9", None)],
)
def test_retry_after_in_seconds_is_read_strictly(value, expected):
    assert retry_after_seconds({"retry-after": value}) == expected


@pytest.mark.parametrize(
    "value",
    [
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 01 Jan 2026 99999999999999999999:00:00 GMT",
        "Mon, 01 Jan 2026 00:00:00 +99999999999999999999",
        "Mon, 01 Jan 0001 00:00:00 +2359",
    ],
)
def test_attack_retry_after_beyond_any_calendar_counts_as_none_or_past(value):
    assert retry_after_seconds({"retry-after": value}) in (None, 0.0)


@given(st.text(max_size=80))
def test_retry_after_of_any_text_raises_nothing(value):
    seconds = retry_after_seconds({"retry-after": value})
    assert seconds is None or seconds >= 0


def test_retry_after_as_a_date_is_the_time_until_then():
    now = time.time()
    later = format_datetime(datetime.fromtimestamp(now, UTC) + timedelta(seconds=90), usegmt=True)
    assert retry_after_seconds({"retry-after": later}, now) == pytest.approx(90, abs=1)
    earlier = format_datetime(datetime.fromtimestamp(now, UTC) - timedelta(seconds=90), usegmt=True)
    assert retry_after_seconds({"retry-after": earlier}, now) == 0.0
