"""What is in a payload, for people: one row a resource, in the order of time.

The words are data for a table; how they look, and in which language headings are, is the caller's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from records.categories import category_of
from records.display import concept, items, joined, mapping, name, text
from records.errors import NotFhirError
from records.json_gate import parse_json
from records.limits import DEFAULT_LIMITS, InputLimits
from records.periods import dated_elements, written_day
from records.plain_text import plain
from records.summaries import flags, summary_of
from records.survey import Json

_CONTEXT_TYPES = frozenset(
    {
        "Patient",
        "Practitioner",
        "PractitionerRole",
        "Organization",
        "Location",
        "HealthcareService",
        "Endpoint",
    }
)
"""Types that are described by what refers to them, not by a row."""


@dataclass(frozen=True, slots=True)
class DescribedRow:
    """One resource in words; each text is one line without control characters.

    ``date`` is as written (``2019-03``, ``2019-03-02 to 2019-03-05``) or empty, ``kind`` the category
    (``Laboratory``), ``text`` what it is, ``value`` the result with its unit, status or dose. ``warning``
    says what turns the meaning round (``ENTERED IN ERROR``, ``NOT DONE``) and must be shown.
    """

    date: str
    kind: str
    resource_type: str
    text: str
    value: str
    warning: str


@dataclass(frozen=True, slots=True)
class RecordDescription:
    """A payload in words: whose it is, what it is called, and its rows in the order of time, undated last."""

    title: str
    patient: str
    rows: tuple[DescribedRow, ...]


def describe(content: bytes, limits: InputLimits = DEFAULT_LIMITS) -> RecordDescription:
    """Describe a FHIR JSON payload. Content that is not valid R4 is described as far as it can be read.

    Raises:
        InputTooLargeError: larger or deeper than ``limits``.
        NotFhirError: not a FHIR Bundle in JSON.
    """
    bundle = parse_json(content, limits)
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise NotFhirError("expected a FHIR Bundle to describe; came other JSON")
    entries = [mapping(entry) for entry in items(bundle.get("entry"))]
    resources = [resource for entry in entries if (resource := mapping(entry.get("resource")))]
    resources = [resource for resource in resources if isinstance(resource.get("resourceType"), str)]
    index = _index(entries)
    told = [resource for resource in resources if resource["resourceType"] not in _CONTEXT_TYPES]
    rows = [_row(resource, index) for resource in _without_ingredients(told)]
    rows.sort(key=lambda row: (not row.date, row.date))
    patient = next((_patient(r) for r in resources if r["resourceType"] == "Patient"), "")
    title = next((text(r.get("title")) for r in resources if r["resourceType"] == "Composition"), "")
    return RecordDescription(plain(title), plain(patient), tuple(rows))


def _without_ingredients(resources: list[Json]) -> list[Json]:
    """Without Medications and Substances, whose names other rows tell, unless there are no others."""
    others = [r for r in resources if r["resourceType"] not in ("Medication", "Substance")]
    return others or resources


def _index(entries: list[Json]) -> dict[str, Json]:
    """The resources by fullUrl and by ``Type/id``."""
    index: dict[str, Json] = {}
    for entry in entries:
        resource = mapping(entry.get("resource"))
        index[text(entry.get("fullUrl"))] = resource
        index[f"{text(resource.get('resourceType'))}/{text(resource.get('id'))}"] = resource
    return index


def _patient(resource: Json) -> str:
    return joined([name(resource), text(resource.get("gender")), text(resource.get("birthDate"))], ", ")


def _row(resource: Json, index: dict[str, Json]) -> DescribedRow:
    contained = {f"#{text(mapping(c).get('id'))}": mapping(c) for c in items(resource.get("contained"))}

    def resolve(target: str) -> Json:
        return contained.get(target) or index.get(target.partition("/_history/")[0]) or {}

    what, value = summary_of(resource, resolve)
    what = what or concept(resource.get("code")) or resource["resourceType"]
    return DescribedRow(
        date=plain(_date(resource)),
        kind=_kind(resource),
        resource_type=plain(resource["resourceType"]),
        text=plain(what),
        value=plain(value),
        warning=plain(joined(list(flags(resource)), ", ")),
    )


def _kind(resource: Json) -> str:
    return category_of(resource).label.replace("-", " ").capitalize()


def _date(resource: Json) -> str:
    """The first and last day that the resource speaks of, as written."""
    for elements in dated_elements(resource):
        days = sorted(day for _, value in elements for day in _days(value))
        if days:
            return days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    return ""


def _days(value: Any) -> Iterator[str]:
    """The days written in a dateTime, Period, Timing, or a list of them."""
    if isinstance(value, str):
        day = written_day(value)
        if day:
            yield day
        return
    for item in items(value):
        part = mapping(item)
        for child in (part.get("start"), part.get("end"), part.get("event")):
            if child is not None:
                yield from _days(child)
