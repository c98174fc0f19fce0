"""The clinical period of resources, and how a long history is split by it."""

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from records import InvalidBundleError, prepare
from records.periods import day_range, period_of, written_day
from vocabulary import FIRST_DAY, LAST_DAY, UNDATED, Category, DayPeriod

Build = Callable[..., bytes]
Resource = dict[str, Any]


def days(start: str, end: str) -> DayPeriod:
    return DayPeriod(date.fromisoformat(start).toordinal(), date.fromisoformat(end).toordinal())


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ({"effectiveDateTime": "2019-03-02T23:59:00-08:00"}, days("2019-03-02", "2019-03-02")),
        ({"effectiveDateTime": "2019-03-02T00:01:00+14:00"}, days("2019-03-02", "2019-03-02")),
        ({"effectiveInstant": "2019-03-02T00:01:00Z"}, days("2019-03-02", "2019-03-02")),
        ({"effectiveDateTime": "2019"}, days("2019-01-01", "2019-12-31")),
        ({"effectiveDateTime": "2020-02"}, days("2020-02-01", "2020-02-29")),
        ({"effectiveDateTime": "1899-02"}, days("1899-02-01", "1899-02-28")),
        ({"effectiveDateTime": "0001"}, days("0001-01-01", "0001-12-31")),
        ({"effectiveDateTime": "9999-12"}, days("9999-12-01", "9999-12-31")),
        (
            {"effectivePeriod": {"start": "2019-03", "end": "2019-05-06T10:00:00Z"}},
            days("2019-03-01", "2019-05-06"),
        ),
        ({"effectivePeriod": {"start": "2019-03-02"}}, DayPeriod(date(2019, 3, 2).toordinal(), LAST_DAY)),
        ({"effectivePeriod": {"end": "2019-03-02"}}, DayPeriod(FIRST_DAY, date(2019, 3, 2).toordinal())),
        ({"effectiveTiming": {"event": ["2019-03-05", "2019-03-02"]}}, days("2019-03-02", "2019-03-05")),
        (
            {"occurrenceTiming": {"repeat": {"boundsPeriod": {"start": "2019", "end": "2020"}}}},
            days("2019-01-01", "2020-12-31"),
        ),
        (
            {"effectiveDateTime": "2019-03-02", "issued": "2021-01-01T00:00:00Z"},
            days("2019-03-02", "2019-03-02"),
        ),
        ({"issued": "2021-01-01T00:00:00Z"}, days("2021-01-01", "2021-01-01")),
        (
            {"onsetDateTime": "2010-05", "abatementDateTime": "2012", "recordedDate": "2020"},
            days("2010-05-01", "2012-12-31"),
        ),
        ({"onsetString": "2010 or so", "recordedDate": "2020-01-02"}, days("2020-01-02", "2020-01-02")),
        ({"onsetAge": {"value": 30}}, UNDATED),
        ({"performedDateTime": "1955-07-08"}, days("1955-07-08", "1955-07-08")),
        ({"authoredOn": "2020-01-02"}, days("2020-01-02", "2020-01-02")),
        ({"meta": {"lastUpdated": "2020-01-02T00:00:00Z"}}, UNDATED),
        ({}, UNDATED),
    ],
)
def test_period_of_resource_is_its_clinical_period_as_written(
    resource: Resource, expected: DayPeriod
) -> None:
    assert period_of({"resourceType": "Observation", **resource}, "x") == expected


def test_period_of_specimen_document_and_patient() -> None:
    specimen = {"resourceType": "Specimen", "collection": {"collectedDateTime": "2019-03-02"}}
    assert period_of(specimen, "x") == days("2019-03-02", "2019-03-02")
    document = {
        "resourceType": "DocumentReference",
        "date": "2020-01-01T00:00:00Z",
        "context": {"period": {"start": "2019-03-02", "end": "2019-03-05"}},
    }
    assert period_of(document, "x") == days("2019-03-02", "2019-03-05")
    assert period_of({"resourceType": "Patient", "birthDate": "1950-01-01"}, "x") == UNDATED


@given(st.dates(), st.sampled_from([4, 7, 10]))
def test_day_range_any_partial_date_covers_exactly_the_days_it_can_mean(day: date, length: int) -> None:
    text = day.isoformat()[:length]
    period = day_range(text, "x")
    assert period.start_day <= day.toordinal() <= period.end_day
    for edge, outside in ((period.start_day, -1), (period.end_day, 1)):
        assert date.fromordinal(edge).isoformat()[:length] == text
        if 1 <= edge + outside <= date.max.toordinal():
            assert date.fromordinal(edge + outside).isoformat()[:length] != text


@pytest.mark.parametrize("text", ["2019-02-29", "1900-02-29", "2019-04-31"])
def test_day_range_day_that_no_calendar_has_is_refused(text: str) -> None:
    with pytest.raises(InvalidBundleError, match="x: expected a day of the calendar"):
        day_range(text, "x")


@pytest.mark.parametrize(
    "text", ["", "19", "last year", "2019-3-2", "20190302", "２０１９", "2019-03-02 10:00"]
)
def test_written_day_other_text_is_none(text: str) -> None:
    assert written_day(text) is None


def spread(bundle_of: Build, observation: Resource, *dates: str) -> list[tuple[str, list[str]]]:
    """The period and the ids of each payload of laboratory results taken on ``dates``."""
    results = [{**observation, "id": text or "undated", "effectiveDateTime": text} for text in dates]
    for result in results:
        if not result["effectiveDateTime"]:
            del result["effectiveDateTime"]
        elif "/" in result["effectiveDateTime"]:
            start, _, end = result.pop("effectiveDateTime").partition("/")
            result["id"] = f"{start}.{end}"
            result["effectivePeriod"] = {"start": start, **({"end": end} if end else {})}
    return [
        (
            str(payload.period),
            [
                e["resource"]["id"]
                for e in json.loads(payload.content)["entry"]
                if e["resource"]["id"] != "p1"
            ],
        )
        for payload in prepare(bundle_of(*results), None)
    ]


def test_prepare_stay_over_new_year_is_not_split(bundle_of: Build, observation: Resource) -> None:
    assert spread(bundle_of, observation, "2019-12-30", "2020-01-02") == [
        ("2019-12-30 to 2020-01-02", ["2019-12-30", "2020-01-02"])
    ]


def test_prepare_366_days_are_short_and_367_long(bundle_of: Build, observation: Resource) -> None:
    assert len(spread(bundle_of, observation, "2019-03-01", "2020-02-29")) == 1
    assert len(spread(bundle_of, observation, "2019-03-01", "2020-03-01")) == 2


def test_prepare_long_history_is_split_by_year_with_real_days(
    bundle_of: Build, observation: Resource
) -> None:
    assert spread(
        bundle_of, observation, "2020-01-01", "2018-12-31", "1969-07-20", "2018-02", "2020-12-31"
    ) == [
        ("1969-07-20", ["1969-07-20"]),
        ("2018-02-01 to 2018-12-31", ["2018-12-31", "2018-02"]),
        ("2020-01-01 to 2020-12-31", ["2020-01-01", "2020-12-31"]),
    ]


def test_prepare_what_spans_years_stands_apart_from_each_year(
    bundle_of: Build, observation: Resource
) -> None:
    assert spread(bundle_of, observation, "2018-05-01", "2018-06-01/2020-01-01", "2020-05-01") == [
        ("2018-05-01", ["2018-05-01"]),
        ("2018-06-01 to 2020-01-01", ["2018-06-01.2020-01-01"]),
        ("2020-05-01", ["2020-05-01"]),
    ]


def test_prepare_undated_and_ongoing_never_share_a_payload_with_dated(
    bundle_of: Build, observation: Resource
) -> None:
    """A consent for a period of years must not open what may lie outside of it."""
    assert spread(bundle_of, observation, "2019-03-02", "", "2019-03-01/") == [
        ("unbounded to unbounded", ["undated"]),
        ("2019-03-01 to unbounded", ["2019-03-01."]),
        ("2019-03-02", ["2019-03-02"]),
    ]


def test_prepare_document_holds_as_of_its_date(bundle_of: Build, observation: Resource) -> None:
    composition = {
        "resourceType": "Composition",
        "status": "final",
        "type": {"text": "Letter"},
        "date": "2020-05-06T10:00:00Z",
        "author": [{"display": "Dr Jones"}],
        "title": "Letter",
    }
    ongoing = {**observation, "id": "o2", "effectivePeriod": {"start": "2015-02-03"}}
    del ongoing["effectiveDateTime"]
    undated = {**observation, "id": "o3"}
    del undated["effectiveDateTime"]
    entries = [
        {"fullUrl": f"urn:oid:1.2.{n}", "resource": r} for n, r in enumerate((composition, ongoing, undated))
    ]
    for entry in entries[1:]:
        entry["resource"].pop("subject")  # type: ignore[attr-defined]
    (payload,) = prepare(bundle_of(type="document", entry=entries), None)
    assert (payload.category, str(payload.period)) == (Category.DOCUMENT, "2015-02-03 to 2020-05-06")


def test_prepare_signed_bundle_with_an_undated_result_is_undated(
    bundle_of: Build, observation: Resource
) -> None:
    signature = {"type": [{"code": "x"}], "when": "2025-07-01T07:59:50Z", "who": {"display": "Lab"}}
    undated = {**observation, "id": "o2"}
    del undated["effectiveDateTime"]
    (payload,) = prepare(bundle_of(observation, signature=signature), None)
    assert str(payload.period) == "2019-03-02"
    (payload,) = prepare(bundle_of(observation, undated, signature=signature), None)
    assert payload.period == UNDATED
