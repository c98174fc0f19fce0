"""The clinical period of a resource: when what it tells about took place, in days as written.

No time zone is applied: the day is the one that the author wrote. ``meta.lastUpdated`` is never used. See
ADR 0043.
"""

import re
from calendar import monthrange
from collections.abc import Iterable, Iterator
from datetime import date
from functools import lru_cache
from typing import Any

from records.errors import InvalidBundleError, Issue
from records.survey import Json
from vocabulary import FIRST_DAY, LAST_DAY, SENSITIVE_CATEGORIES, UNDATED, Category, DayPeriod

_CLINICAL = (
    "effective",
    "occurrence",
    "performed",
    "onset",
    "abatement",
    "period",
    "billablePeriod",
    "started",
    "start",
    "end",
    "startDate",
    "whenPrepared",
    "whenHandedOver",
    "timing",
    "collected",
    "occurred",
    "identified",
    "detected",
    "executionPeriod",
    "serviced",
)
"""Elements that say when something happened or held; choice elements by their stem."""
_ASSERTED = (
    "authoredOn",
    "authored",
    "issued",
    "date",
    "dateTime",
    "recordedDate",
    "recorded",
    "dateAsserted",
    "dateWritten",
    "created",
    "createdDateTime",
    "sent",
    "received",
    "receivedTime",
    "statusDate",
)
"""Elements that say when it was written down: used when no clinical date is there, the first that is."""
_SUFFIXES = ("", "DateTime", "Date", "Instant", "Period", "Timing")
_CLINICAL_RANK = {
    name: rank
    for rank, name in enumerate(dict.fromkeys(stem + end for stem in _CLINICAL for end in _SUFFIXES))
}
_ASSERTED_RANK = {name: rank for rank, name in enumerate(_ASSERTED)}
"""Every name that an element may have, with its place among them: a resource has far fewer than these."""
_NESTED = {"Specimen": "collection", "DocumentReference": "context"}
"""Types whose clinical dates stand in a part of the resource."""
_WRITTEN_DAY = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?(?=T|$)", re.ASCII)


def dated_elements(resource: Json) -> Iterator[list[tuple[str, Any]]]:
    """The elements of a resource that can date it, with their names, best first.

    The first list holds all clinical ones, whose dates together make the period; each later one a single
    element that tells when the resource was written.
    """
    nested = _NESTED.get(resource["resourceType"])
    sources: list[tuple[str, Any]] = [("", resource)]
    if nested:
        sources.insert(0, (f"{nested}.", resource.get(nested)))
    yield [
        (prefix + name, source[name])
        for prefix, source in sources
        if isinstance(source, dict)
        for name in _ranked(source, _CLINICAL_RANK)
    ]
    yield from ([(name, resource[name])] for name in _ranked(resource, _ASSERTED_RANK))


def _ranked(source: Json, rank: dict[str, int]) -> list[str]:
    """The names in ``source`` that have a rank, in its order."""
    return sorted([name for name in source if name in rank], key=rank.__getitem__)


def written_day(text: str) -> str | None:
    """The day, month or year with which a date or dateTime begins, as written; None for other text."""
    match = _WRITTEN_DAY.match(text)
    return match.group() if match else None


def period_of(resource: Json, location: str) -> DayPeriod:
    """The clinical period of a resource, UNDATED if it has no date.

    A partial date widens to its first and last day. A Period without end is open: it is still going on (FHIR
    R4, 2.24.0.9), so its end is unbounded; without start, its start is. A Patient is undated: a birth date
    tells nothing of a record's time.

    Raises:
        InvalidBundleError: a day that no calendar has, or a period that ends before it starts.
    """
    if resource["resourceType"] == "Patient":
        return UNDATED
    for elements in dated_elements(resource):
        periods = [p for name, value in elements for p in _periods(value, f"{location}.{name}")]
        if periods:
            return hull(periods)
    return UNDATED


def hull(periods: Iterable[DayPeriod]) -> DayPeriod:
    """The smallest period that covers all of ``periods``, of which there is at least one."""
    covered = list(periods)
    if len(covered) == 1:
        return covered[0]
    return DayPeriod(min(p.start_day for p in covered), max(p.end_day for p in covered))


def day_range(text: str, location: str) -> DayPeriod:
    """The days of a FHIR date, dateTime or instant: ``2019-03`` is 1 to 31 March 2019.

    Raises:
        InvalidBundleError: the calendar has no such day (``2019-02-30``).
    """
    try:
        return _days_of(written_day(text) or "0")
    except ValueError:
        issue = Issue(location, "a day of the calendar", "a day that does not exist")
        raise InvalidBundleError((issue,)) from None


def shown_period(category: Category, period: DayPeriod) -> DayPeriod:
    """The period as the ledger shows it: a sensitive record tells only its calendar years."""
    return period.calendar_years() if category in SENSITIVE_CATEGORIES else period


@lru_cache(maxsize=4096)
def _days_of(written: str) -> DayPeriod:
    """The days of a written day, month or year. A history repeats the same days many times."""
    year, *rest = (int(part) for part in written.split("-"))
    if not rest:
        return DayPeriod(date(year, 1, 1).toordinal(), date(year, 12, 31).toordinal())
    month, *days = rest
    first, last = days[0] if days else 1, days[0] if days else monthrange(year, month)[1]
    return DayPeriod(date(year, month, first).toordinal(), date(year, month, last).toordinal())


def _periods(value: Any, location: str) -> Iterator[DayPeriod]:
    """The periods in a value of type dateTime, Period or Timing, or of a list of them."""
    if isinstance(value, str):
        if written_day(value):
            yield day_range(value, location)
    elif isinstance(value, list):
        for item in value:
            yield from _periods(item, location)
    elif isinstance(value, dict):
        if "start" in value or "end" in value:
            yield _bounded(value, location)
        yield from _periods(value.get("event"), f"{location}.event")
        bounds = (
            value.get("repeat", {}).get("boundsPeriod") if isinstance(value.get("repeat"), dict) else None
        )
        yield from _periods(bounds, f"{location}.repeat.boundsPeriod")


def _bounded(value: Json, location: str) -> DayPeriod:
    start = day_range(value["start"], f"{location}.start").start_day if "start" in value else FIRST_DAY
    end = day_range(value["end"], f"{location}.end").end_day if "end" in value else LAST_DAY
    if end < start:
        raise InvalidBundleError(
            (Issue(location, "an end that is not before the start (per-1)", "an earlier end"),)
        )
    return DayPeriod(start, end)
