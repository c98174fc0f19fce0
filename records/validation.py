"""Is this a valid bundle of FHIR R4 records? Structure first, then the rules that no schema can say.

What is checked: the JSON schema of every resource by its own type, required elements, choices, required
codes, empty values, nulls, control characters; then bundle rules (bdl-7, bdl-8, document and request rules).
What is not: profiles, invariants in FHIRPath, terminology beyond required bindings in the schema.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import jsonschema_rs

from records.errors import InvalidBundleError, Issue
from records.json_gate import control_character_fault
from records.reading import SourceBundle
from records.schema import primitive_of_pattern, resource_types, validator_of
from records.survey import Json, Survey, null_faults, survey
from records.wording import fhir_path, json_type, shown_code, shown_name

SHOWN_ISSUES = 5
"""How many issues an error lists before it counts the rest."""
_MAXIMUM_ISSUES = 1_000
"""After so many, no more are looked for."""
_EXHAUSTIVE_CHARACTERS = 2**16
"""Above this size the schema validator is asked for the first fault only: it gathers all of them before it
answers, which took 48 s for a million faults in 2 MB."""
ACCEPTED_TYPES = ("collection", "document", "transaction", "batch", "searchset")
"""Bundle types that hold records of a person; the others are messages, answers or logs of changes."""


_STUB = {"resourceType": "Basic"}
"""Stands in for a resource where only what is around it is checked."""


def validate(bundle: SourceBundle) -> tuple[Survey, ...]:
    """Check a bundle against FHIR R4 and return the survey of each entry's resource.

    Raises:
        InvalidBundleError: the first faults, each with its location, and how many more there are.
    """
    surveys: list[Survey] = []
    issues = _Issues()
    issues.extend(_missing_resources(bundle))
    if not _is_sound_envelope(bundle):
        issues.extend(_envelope_issues(bundle))
    for index, entry in enumerate(bundle.entries):
        if isinstance(entry.value.get("resource"), dict):
            found = survey(entry.resource)
            surveys.append(found)
            resource, source = entry.resource, entry.source["resource"]
            if found.contained or not _is_sound(resource, source, found):
                issues.extend(_resource_issues(f"Bundle.entry[{index}].resource", resource, source, found))
    issues.raise_any()
    issues.extend(_bundle_rules(bundle))
    issues.raise_any()
    return tuple(surveys)


class _Issues:
    """The first issues, and the number of all."""

    def __init__(self) -> None:
        self.first: list[Issue] = []
        self.count = 0

    def extend(self, issues: Iterable[Issue]) -> None:
        for issue in issues:
            self.count += 1
            if self.count <= SHOWN_ISSUES:
                self.first.append(issue)
            if self.count >= _MAXIMUM_ISSUES:
                self.raise_any()

    def raise_any(self) -> None:
        if self.count:
            raise InvalidBundleError(tuple(self.first), self.count - len(self.first))


def _missing_resources(bundle: SourceBundle) -> Iterator[Issue]:
    for index, entry in enumerate(bundle.entries):
        root = f"Bundle.entry[{index}].resource"
        if "resource" not in entry.value:
            yield Issue(root, "a resource (deletions and queries are no records)", "an entry without one")
        elif not isinstance(entry.value["resource"], dict):
            yield Issue(root, "a resource, a JSON object", json_type(entry.value["resource"]))


def _envelope(bundle: SourceBundle) -> Json:
    """The Bundle itself, with a stub in the place of each resource."""
    if not bundle.entries:
        return bundle.value
    entries = [
        entry.value | {"resource": _STUB} if "resource" in entry.value else entry.value
        for entry in bundle.entries
    ]
    return bundle.value | {"entry": entries}


def _is_sound_envelope(bundle: SourceBundle) -> bool:
    """Whether ``_envelope_issues`` would find none, told at once for all entries."""
    envelope = _envelope(bundle)
    members = [
        source for entry in bundle.entries for key, source in entry.source.items() if key != "resource"
    ]
    return _is_sound(envelope, "".join([*bundle.source.values(), *members]), survey(envelope))


def _is_sound(value: Json, source: str, found: Survey) -> bool:
    """Whether a resource, but for what it contains, has no issue; nearly all have none, and this is quick.

    Names of elements need no look of their own: the schema knows them all.
    """
    resource_type = value.get("resourceType")
    return (
        not found.faults
        and isinstance(resource_type, str)
        and resource_type in resource_types()
        and "null" not in source
        and validator_of(resource_type).is_valid(value)
        and not control_character_fault(source, value)
    )


def _envelope_issues(bundle: SourceBundle) -> Iterator[Issue]:
    """The issues of the Bundle itself, in order of its entries."""
    envelope = _envelope(bundle)
    yield from _schema_issues("Bundle", "Bundle", envelope, is_large=len(bundle.entries) > 1_000)
    for index, entry in enumerate(bundle.entries):
        rest = {key: value for key, value in entry.value.items() if key != "resource"}
        yield from _format_issues(f"Bundle.entry[{index}]", rest, survey(rest) if rest else Survey(), None)
    yield from _format_issues("Bundle", bundle.value, survey(bundle.value), None)


def _resource_issues(root: str, resource: Json, source: str, found: Survey) -> Iterator[Issue]:
    is_large = len(source) > _EXHAUSTIVE_CHARACTERS
    yield from _typed_issues(root, resource, is_large=is_large)
    for path, contained in found.contained:
        yield from _typed_issues(fhir_path(root, path), contained, is_large=is_large)
    yield from _format_issues(root, resource, found, source)


def _typed_issues(root: str, resource: Json, *, is_large: bool) -> Iterator[Issue]:
    resource_type = resource.get("resourceType")
    if not isinstance(resource_type, str) or resource_type not in resource_types():
        came = shown_code(resource_type) if "resourceType" in resource else "none"
        yield Issue(f"{root}.resourceType", "a resource type of FHIR R4", came)
        return
    yield from _schema_issues(root, resource_type, resource, is_large=is_large)


def _format_issues(root: str, value: Json, found: Survey, source: str | None) -> Iterator[Issue]:
    """What FHIR's JSON format forbids everywhere (FHIR R4, 2.6.2). ``source``, if known, spares a search."""
    for path, expected, came in found.faults:
        yield Issue(fhir_path(root, path), expected, came)
    if source is None or "null" in source:
        for path, expected, came in null_faults(value):
            yield Issue(fhir_path(root, path), expected, came)
    if control_character_fault(source, value):
        yield Issue(root, "text without control characters but tab, CR and LF", "a control character")


def _schema_issues(root: str, resource_type: str, value: Json, *, is_large: bool) -> Iterator[Issue]:
    validator = validator_of(resource_type)
    if validator.is_valid(value):
        return
    if is_large:
        try:
            validator.validate(value)
        except jsonschema_rs.ValidationError as first:
            yield from _issues_of(root, first)
        return
    for error in validator.iter_errors(value):
        yield from _issues_of(root, error)


def _issues_of(root: str, error: jsonschema_rs.ValidationError) -> Iterator[Issue]:
    """One error of the schema validator in our words; the validator's own would quote the value."""
    place = fhir_path(root, error.instance_path)
    kind: Any = error.kind
    match kind.name:
        case "required":
            yield Issue(f"{place}.{kind.property}", "a value (required)", "none")
        case "anyOf":
            names = [
                str(branch[0].kind.as_dict().get("property"))
                for branch in kind.context
                if branch and not str(branch[0].kind.as_dict().get("property")).startswith("_")
            ]
            where = f"{place}.{names[0]}" if len(names) == 1 else place
            yield Issue(
                where, "a value (required)" if len(names) == 1 else f"one of {', '.join(names)}", "none"
            )
        case "enum":
            options = ", ".join(map(str, kind.options[:12])) + (", ..." if len(kind.options) > 12 else "")
            yield Issue(place, f"one of {options}", shown_code(error.instance))
        case "const":
            yield Issue(place, f"'{kind.expected_value}'", shown_code(error.instance))
        case "type":
            yield Issue(place, " or ".join(map(_type_words, kind.types)), json_type(error.instance))
        case "additionalProperties":
            for name in kind.unexpected:
                yield Issue(f"{place}.{shown_name(name)}", "an element of FHIR R4", "an unknown one")
        case "propertyNames":
            yield Issue(f"{place}.{error.schema_path[-3]}", "one element only of a choice", "several")
        case "pattern":
            name = primitive_of_pattern().get(kind.pattern, str(error.schema_path[-2]))
            yield Issue(
                place, _FORMATS.get(name, f"a value in the format of {name}"), json_type(error.instance)
            )
        case other:
            yield Issue(place, f"a value that satisfies '{other}'", json_type(error.instance))


def _type_words(name: str) -> str:
    return {"array": "an array", "object": "an object", "integer": "a whole number"}.get(name, f"a {name}")


_FORMATS = {
    "date": "a date as YYYY, YYYY-MM or YYYY-MM-DD",
    "dateTime": "a dateTime as YYYY, YYYY-MM, YYYY-MM-DD or YYYY-MM-DDThh:mm:ss+zz:zz",
    "instant": "an instant as YYYY-MM-DDThh:mm:ss+zz:zz",
    "time": "a time as hh:mm:ss",
    "id": "an id of at most 64 letters, digits, '-' and '.'",
    "code": "a code without spaces around it",
    "string": "a string that is not empty",
}


def _bundle_rules(bundle: SourceBundle) -> Iterator[Issue]:
    bundle_type = bundle.value.get("type")
    if bundle_type not in ACCEPTED_TYPES:
        yield Issue("Bundle.type", f"one of {', '.join(ACCEPTED_TYPES)}", shown_code(bundle_type))
    if not bundle.entries:
        yield Issue("Bundle.entry", "at least one entry", "none")
    seen: set[tuple[str, Any]] = set()
    for index, entry in enumerate(bundle.entries):
        place = f"Bundle.entry[{index}]"
        full_url = entry.value.get("fullUrl")
        if isinstance(full_url, str):
            key = (full_url, entry.resource.get("meta", {}).get("versionId"))
            if key in seen:
                yield Issue(f"{place}.fullUrl", "a fullUrl of its own (bdl-7)", "one that another entry has")
            seen.add(key)
        method = entry.value.get("request", {}).get("method", "POST")
        if method not in ("POST", "PUT"):
            yield Issue(f"{place}.request.method", "POST or PUT: a record to keep", shown_code(method))
    if bundle_type == "document" and bundle.entries:
        first = bundle.entries[0].resource["resourceType"]
        if first != "Composition":
            place = "Bundle.entry[0].resource"
            yield Issue(place, "a Composition (a document begins with one, bdl-11)", shown_code(first))
