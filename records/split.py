"""Which resources go together into one payload: by category, by what is known of their time, by year.

Every entry has exactly one home. The patient, and the context that a payload refers to (who, where, which
medication or device), are repeated in it, so that it reads alone. See ADR 0040 and 0043.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from records.reading import SourceEntry
from records.references import References
from records.survey import Survey
from vocabulary import FIRST_DAY, LAST_DAY, Category, DayPeriod

LONG_HISTORY_DAYS = 366
"""A category whose dated resources span more days than this is split by calendar year."""
_CONTEXT_TYPES = frozenset(
    {
        "Practitioner",
        "PractitionerRole",
        "Organization",
        "Location",
        "HealthcareService",
        "Endpoint",
        "RelatedPerson",
        "Device",
        "Medication",
        "Substance",
    }
)


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry with its category and its clinical period."""

    category: Category
    is_sensitive: bool
    period: DayPeriod


@dataclass(frozen=True, slots=True)
class Group:
    """The entries of one payload, as indexes in the order of the bundle: at home here, and repeated."""

    category: Category
    home: tuple[int, ...]
    context: tuple[int, ...]


def split(
    entries: Sequence[SourceEntry],
    surveys: Sequence[Survey],
    references: References,
    placed: Sequence[Placed],
    patient: int | None,
) -> tuple[Group, ...]:
    """Divide the entries of a bundle into groups, ordered by category and time.

    Context that nothing else refers to is at home in the group of its own category, with what it refers to.
    """
    targets = [_targets(index, survey, references) for index, survey in enumerate(surveys)]
    context = {index for index, entry in enumerate(entries) if _is_context(entry, placed[index])}
    main = [index for index in range(len(entries)) if index not in context and index != patient]
    reached = _closure(main if patient is None else [*main, patient], targets, context)
    orphans = _roots(sorted(context - reached), targets, context)
    if patient is not None and not main and not orphans:
        return (Group(Category.PATIENT_SUMMARY, (patient,), tuple(sorted(reached))),)
    groups = _group(sorted([*main, *orphans]), placed, _owners(entries, surveys, references))
    result = []
    for category, members in groups:
        shared = _closure(members if patient is None else [*members, patient], targets, context) - set(
            members
        )
        if patient is not None:
            shared.add(patient)
        result.append(Group(category, tuple(members), tuple(sorted(shared))))
    return tuple(result)


def _is_context(entry: SourceEntry, placed: Placed) -> bool:
    """Whether an entry may be repeated: not when it is sensitive, nor when it is the patient's own device."""
    return (
        entry.resource["resourceType"] in _CONTEXT_TYPES
        and not placed.is_sensitive
        and not (entry.resource["resourceType"] == "Device" and "patient" in entry.resource)
    )


def _targets(index: int, survey: Survey, references: References) -> set[int]:
    found = (references.resolve(r.target, index) for r in survey.references if r.target is not None)
    return {target for target in found if target is not None}


def _closure(start: Sequence[int], targets: Sequence[set[int]], context: set[int]) -> set[int]:
    """The context that ``start`` refers to, directly or through other context."""
    reached: set[int] = set()
    pending = list(start)
    while pending:
        for target in targets[pending.pop()]:
            if target in context and target not in reached:
                reached.add(target)
                pending.append(target)
    return reached


def _roots(orphans: Sequence[int], targets: Sequence[set[int]], context: set[int]) -> list[int]:
    """The fewest orphans from which all are reached: those that no other names, then the first of each circle."""
    named = {target for orphan in orphans for target in targets[orphan] - {orphan}}
    roots = [orphan for orphan in orphans if orphan not in named]
    reached = _closure(roots, targets, context)
    for orphan in orphans:
        if orphan in named and orphan not in reached:
            roots.append(orphan)
            reached |= {orphan} | _closure([orphan], targets, context)
    return roots


def _owners(
    entries: Sequence[SourceEntry], surveys: Sequence[Survey], references: References
) -> dict[int, int]:
    """For each Binary, the first entry that has it as an attachment: it goes where that one goes."""
    owners: dict[int, int] = {}
    for index, survey in enumerate(surveys):
        for attachment in survey.attachments:
            target = references.resolve(attachment.target or "", index)
            if target is not None and entries[target].resource["resourceType"] == "Binary":
                owners.setdefault(target, index)
    return owners


def _group(
    members: list[int], placed: Sequence[Placed], owners: dict[int, int]
) -> list[tuple[Category, list[int]]]:
    """Members by category and span of years; undated and open-ended ones always apart."""
    of_category: dict[Category, list[int]] = defaultdict(list)
    for index in members:
        of_category[placed[owners.get(index, index)].category].append(index)
    result: list[tuple[Category, list[int]]] = []
    for category in sorted(of_category):
        periods = {index: placed[owners.get(index, index)].period for index in of_category[category]}
        closed = [p for p in periods.values() if p.start_day > FIRST_DAY and p.end_day < LAST_DAY]
        is_long = bool(closed) and _days(closed) > LONG_HISTORY_DAYS
        by_span: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, period in periods.items():
            by_span[_span(period, is_long)].append(index)
        result.extend((category, by_span[span]) for span in sorted(by_span))
    return result


def _days(periods: list[DayPeriod]) -> int:
    return max(p.end_day for p in periods) - min(p.start_day for p in periods) + 1


def _span(period: DayPeriod, is_long: bool) -> tuple[int, int]:
    """What resources have in common that share a payload: first and last year, -1 for unbounded.

    In a short history all closed periods share one payload. Whoever opens what went on from 2015 to 2017
    opens both years, so it stands apart from what began and ended in 2015.
    """
    if period.start_day == FIRST_DAY and period.end_day == LAST_DAY:
        return (-1, -1)
    if not is_long and period.start_day > FIRST_DAY and period.end_day < LAST_DAY:
        return (0, 0)
    start = date.fromordinal(period.start_day).year if period.start_day > FIRST_DAY else -1
    end = date.fromordinal(period.end_day).year if period.end_day < LAST_DAY else -1
    if not is_long:
        return (0 if start > 0 else -1, 0 if end > 0 else -1)
    return (start, end)
