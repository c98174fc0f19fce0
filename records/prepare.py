"""From the bytes of a bundle to the payloads that are sealed and published.

1. Read: limits, UTF-8, JSON, no key twice (``reading``).
2. Validate every resource against FHIR R4 (``validation``).
3. Check that all of it is about one patient, the registered one (``patient``).
4. Categorise, move what is labelled sensitive, date (``categories``, ``sensitivity``, ``periods``).
5. Split by category and year, and assemble payloads from the original bytes (``split``).

What is signed, or is a document, stays one payload of exactly the bytes that came.

Other formats (C-CDA) and full validation (profiles, terminology) have their place before step 2: a format is
what turns bytes into a ``SourceBundle`` or, kept whole, into one payload; steps 3 to 5 do not know JSON.
"""

from collections.abc import Sequence

from records.categories import category_of
from records.errors import InputTooLargeError
from records.limits import DEFAULT_LIMITS, InputLimits
from records.patient import check_patient
from records.payload import FHIR_JSON, PatientIdentifier, RecordPayload
from records.periods import hull, period_of, shown_period
from records.reading import SourceBundle, SourceEntry, read_bundle
from records.references import References
from records.sensitivity import labelled, sensitive_categories
from records.split import Group, Placed, split
from records.survey import Survey
from records.validation import validate
from vocabulary import LAST_DAY, SENSITIVE_CATEGORIES, UNDATED, Category, DayPeriod

_ENTRY_MEMBERS = ("id", "extension", "modifierExtension", "link", "fullUrl", "_fullUrl", "resource")
"""Members of an entry that a collection may have; request, response and search only tell of transport."""
_BUNDLE_MEMBERS = ("implicitRules", "_implicitRules", "language", "_language")
"""Members of a bundle that change how its resources are read."""
_MAXIMUM_EXPANSION = 8
"""How many times the size limit all payloads together may reach."""
_IPS_DOCUMENT = ("http://loinc.org", "60591-5")
"""Patient summary document (LOINC), the Composition.type of an International Patient Summary."""


def prepare(
    raw: bytes,
    identifiers: frozenset[PatientIdentifier] | None,
    limits: InputLimits = DEFAULT_LIMITS,
) -> tuple[RecordPayload, ...]:
    """Validate a FHIR R4 Bundle and split it into payloads by category and year.

    Args:
        raw: the bytes of a Bundle in JSON: collection, document, transaction, batch or searchset.
        identifiers: what the registered patient is known by; None asks for no identity, and only then a
            bundle without any Patient passes.
        limits: what is refused unread.

    Returns:
        At least one payload, ordered by category and time. Each entry is at home in exactly one; resources are
        the bytes that came. A sensitive category's period is widened to calendar years.

    Raises:
        InputTooLargeError: larger or deeper than ``limits``, or it would be after splitting.
        NotFhirError: not a FHIR Bundle in JSON.
        InvalidBundleError: not valid R4, with the location of each fault.
        PatientMismatchError: not, or not only, about the patient.
        SchemaUnavailableError: the FHIR schema is not installed.
    """
    bundle = read_bundle(raw, limits)
    surveys = validate(bundle)
    references = References(bundle.entries)
    patient = check_patient(bundle.entries, surveys, references, identifiers)
    placed = _place(bundle, surveys, references)
    if bundle.value["type"] == "document" or "signature" in bundle.value:
        return (_whole(raw, bundle, surveys, placed),)
    groups = split(bundle.entries, surveys, references, placed, patient)
    _check_expansion(bundle, groups, limits)
    return tuple(_payload(bundle, group, placed) for group in groups)


def _check_expansion(bundle: SourceBundle, groups: Sequence[Group], limits: InputLimits) -> None:
    """Refuse a bundle whose context, repeated in each payload, would become far more than what came in."""
    lengths = [len(entry.source["resource"]) for entry in bundle.entries]
    expanded = sum(lengths[index] for group in groups for index in group.home + group.context)
    if expanded > _MAXIMUM_EXPANSION * limits.size_bytes:
        raise InputTooLargeError(
            f"expected payloads of at most {_MAXIMUM_EXPANSION * limits.size_bytes} characters together; came "
            f"{expanded}: the patient and other resources are repeated in {len(groups)} payloads"
        )


def _place(bundle: SourceBundle, surveys: Sequence[Survey], references: References) -> list[Placed]:
    usual = [category_of(entry.resource) for entry in bundle.entries]
    inherent = [category if category in SENSITIVE_CATEGORIES else None for category in usual]
    sensitive = sensitive_categories(bundle, surveys, references, inherent)
    return [
        Placed(
            moved or category, moved is not None, period_of(entry.resource, f"Bundle.entry[{index}].resource")
        )
        for index, (entry, category, moved) in enumerate(zip(bundle.entries, usual, sensitive, strict=True))
    ]


def _whole(
    raw: bytes, bundle: SourceBundle, surveys: Sequence[Survey], placed: Sequence[Placed]
) -> RecordPayload:
    """A signed bundle or document as one payload, in a sensitive category if anything in it is labelled so.

    Codes alone do not move it: a patient summary is meant to tell a little of everything.
    """
    labels = [*bundle.value.get("meta", {}).get("security", []), *(x for s in surveys for x in s.labels)]
    category = labelled(labels)
    if category is None:
        category = Category.PATIENT_SUMMARY if _is_patient_summary(bundle) else Category.DOCUMENT
    period = _whole_period(bundle, placed)
    return RecordPayload(category, FHIR_JSON, raw, shown_period(category, period), len(bundle.entries))


def _whole_period(bundle: SourceBundle, placed: Sequence[Placed]) -> DayPeriod:
    """The period of what is not split.

    A document states what was known on its Composition's date: what is undated in it holds as of that date,
    and what still went on, up to it. In a signed bundle one undated clinical resource makes all undated.
    """
    is_document = bundle.value["type"] == "document"
    as_of = placed[0].period.end_day if is_document else LAST_DAY
    periods = []
    for item, entry in zip(placed, bundle.entries, strict=True):
        period = item.period
        if period == UNDATED and (is_document or category_of(entry.resource) is Category.PATIENT_SUMMARY):
            continue
        if period.end_day == LAST_DAY:
            period = DayPeriod(period.start_day, max(period.start_day, as_of))
        periods.append(period)
    return hull(periods) if periods else UNDATED


def _is_patient_summary(bundle: SourceBundle) -> bool:
    first = bundle.entries[0].resource
    return bundle.value["type"] == "document" and any(
        (coding.get("system"), coding.get("code")) == _IPS_DOCUMENT
        for coding in first["type"].get("coding", [])
    )


def _payload(bundle: SourceBundle, group: Group, placed: Sequence[Placed]) -> RecordPayload:
    content = _collection(bundle, sorted(group.home + group.context))
    period = hull(placed[index].period for index in group.home)
    return RecordPayload(
        group.category, FHIR_JSON, content, shown_period(group.category, period), len(group.home)
    )


def _collection(bundle: SourceBundle, indexes: Sequence[int]) -> bytes:
    """A Bundle of type collection, put together from the source text of its parts."""
    rules = "".join(f'"{name}":{bundle.source[name]},' for name in _BUNDLE_MEMBERS if name in bundle.source)
    entries = ",".join(_entry(bundle.entries[index]) for index in indexes)
    return f'{{"resourceType":"Bundle",{rules}"type":"collection","entry":[{entries}]}}'.encode()


def _entry(entry: SourceEntry) -> str:
    members = ",".join(f'"{name}":{entry.source[name]}' for name in _ENTRY_MEMBERS if name in entry.source)
    return f"{{{members}}}"
