"""The clinical period of a resource: when what it tells about took place, in days as written.

No time zone is applied: the day is the one that the author wrote. ``meta.lastUpdated`` is never used. See
ADR 0043.
"""

from calendar import monthrange
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

from records.errors import InvalidBundleError, Issue
from records.survey import Json
from vocabulary import FIRST_DAY, LAST_DAY, UNDATED, DayPeriod

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
_NESTED = {"Specimen": "collection", "DocumentReference": "context", "Patient": None}


def period_of(resource: Json, location: str) -> DayPeriod:
    """The clinical period of a resource, UNDATED if it has no date.

    A partial date widens to its first and last day. A Period without end is open: it is still going on (FHIR
    R4, 2.24.0.9), so its end is unbounded; without start, its start is.

    Raises:
        InvalidBundleError: a day that no calendar has, or a period that ends before it starts.
    """
    if resource["resourceType"] == "Patient":
        return UNDATED
    sources = [resource]
    nested = _NESTED.get(resource["resourceType"])
    if nested and isinstance(resource.get(nested), dict):
        sources.insert(0, resource[nested])
    clinical = [
        period
        for source in sources
        for stem in _CLINICAL
        for suffix in _SUFFIXES
        if stem + suffix in source
        for period in _periods(source[stem + suffix], f"{location}.{stem}{suffix}")
    ]
    if clinical:
        return hull(clinical)
    for element in _ASSERTED:
        asserted = list(_periods(resource.get(element), f"{location}.{element}"))
        if asserted:
            return hull(asserted)
    return UNDATED


def hull(periods: Iterable[DayPeriod]) -> DayPeriod:
    """The smallest period that covers all of ``periods``, of which there is at least one."""
    covered = list(periods)
    return DayPeriod(min(p.start_day for p in covered), max(p.end_day for p in covered))


def day_range(text: str, location: str) -> DayPeriod:
    """The days of a FHIR date, dateTime or instant: ``2019-03`` is 1 to 31 March 2019.

    Raises:
        InvalidBundleError: the calendar has no such day (``2019-02-30``).
    """
    year, *rest = (int(part) for part in text[:10].split("-"))
    try:
        if not rest:
            return DayPeriod(date(year, 1, 1).toordinal(), date(year, 12, 31).toordinal())
        month, *days = rest
        first, last = days[0] if days else 1, days[0] if days else monthrange(year, month)[1]
        return DayPeriod(date(year, month, first).toordinal(), date(year, month, last).toordinal())
    except ValueError:
        issue = Issue(location, "a day of the calendar", "a day that does not exist")
        raise InvalidBundleError((issue,)) from None


def _periods(value: Any, location: str) -> Iterator[DayPeriod]:
    """The periods in a value of type dateTime, Period or Timing, or of a list of them."""
    if isinstance(value, str):
        if value[:4].isdigit():
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
