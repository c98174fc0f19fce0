"""Whatever comes in: every entry has one home, its bytes are untouched, and each payload reads alone."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from records import PatientIdentifier, RecordsError, describe, prepare
from records.categories import category_of
from records.limits import DEFAULT_LIMITS
from records.reading import read_bundle
from vocabulary import SENSITIVE_CATEGORIES, DayPeriod

Resource = dict[str, Any]
IDENTIFIER = PatientIdentifier("https://hospital.example/mrn", "MRN-1")
LABELS = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CONTEXT = {"Practitioner", "Organization", "Medication", "Device"}
dates = st.one_of(
    st.none(),
    st.dates().map(lambda day: day.isoformat()),
    st.dates().map(lambda day: day.isoformat()[:7]),
    st.integers(1900, 2030).map(str),
    st.builds("{}T10:11:12.345+09:00".format, st.dates()),
)
labels = st.sampled_from([None, None, None, "PSY", "ETH", "HIV", "GDIS"])


@st.composite
def bundles(draw: st.DrawFn) -> bytes:
    """The bytes of a valid bundle, with odd white space, escapes and decimals."""
    kinds = draw(
        st.lists(
            st.sampled_from(
                ["Observation", "Condition", "MedicationRequest", "Encounter", "DiagnosticReport", *CONTEXT]
            ),
            max_size=12,
        )
    )
    urls = [f"urn:uuid:00000000-0000-4000-8000-{index:012d}" for index in range(len(kinds) + 1)]
    entries = [
        (
            urls[0],
            {
                "resourceType": "Patient",
                "identifier": [{"system": IDENTIFIER.system, "value": IDENTIFIER.value}],
                "generalPractitioner": [
                    {"reference": url}
                    for url, kind in zip(urls[1:], kinds, strict=True)
                    if kind == "Practitioner"
                ][:1],
            },
        )
    ]
    for index, kind in enumerate(kinds, start=1):
        entries.append((urls[index], draw(resources(kind, urls, kinds))))
    if not entries[0][1]["generalPractitioner"]:
        del entries[0][1]["generalPractitioner"]
    entries = draw(st.permutations(entries))
    space = draw(st.sampled_from(["", " ", "\n  ", "\t"]))
    ascii_only = draw(st.booleans())
    written = ("," + space).join(
        f'{{{space}"fullUrl":"{url}",{space}"resource" :{space}{write(resource, space, ascii_only)}}}'
        for url, resource in entries
    )
    return (
        f'{space}{{"resourceType":"Bundle","type":"collection",{space}"entry":[{written}]{space}}}'.encode()
    )


@st.composite
def resources(draw: st.DrawFn, kind: str, urls: list[str], kinds: list[str]) -> Resource:
    def refer(*types: str) -> Resource | None:
        found = [url for url, other in zip(urls[1:], kinds, strict=True) if other in types]
        return {"reference": draw(st.sampled_from(found))} if found and draw(st.booleans()) else None

    subject, day, words = (
        {"reference": urls[0]},
        draw(dates),
        draw(
            st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1)
            .map(str.strip)
            .filter(bool)
        ),
    )
    shapes: dict[str, Resource] = {
        "Observation": {
            "status": "final",
            "code": {"text": words},
            "subject": subject,
            "effectiveDateTime": day,
            "valueQuantity": {"value": "DECIMAL", "unit": "%"},
            "device": refer("Device"),
            "hasMember": [refer("Observation")],
        },
        "Condition": {
            "code": {"text": words},
            "subject": subject,
            "onsetDateTime": day,
            "asserter": refer("Practitioner"),
        },
        "MedicationRequest": {
            "status": "active",
            "intent": "order",
            "subject": subject,
            "authoredOn": day,
            "medicationReference": refer("Medication") or {"display": words},
            "reasonReference": [refer("Condition")],
        },
        "Encounter": {
            "status": "finished",
            "class": {"code": "AMB"},
            "subject": subject,
            "period": {"start": day} if day else None,
            "serviceProvider": refer("Organization"),
        },
        "DiagnosticReport": {
            "status": "final",
            "code": {"text": words},
            "subject": subject,
            "effectiveDateTime": day,
            "result": [refer("Observation")],
        },
        "Practitioner": {"active": True},
        "Organization": {"name": words, "partOf": refer("Organization")},
        "Medication": {"code": {"text": words}, "manufacturer": refer("Organization")},
        "Device": {"type": {"text": words}, "owner": refer("Organization")},
    }
    label = draw(labels)
    meta = {"security": [{"system": LABELS, "code": label}]} if label else None
    shape = {"resourceType": kind, "meta": meta, **shapes[kind]}
    return {key: value for key, value in shape.items() if value is not None and value != [None]}


def write(resource: Resource, space: str, ascii_only: bool) -> str:
    text = json.dumps(resource, ensure_ascii=ascii_only, separators=("," + space, ":" + space))
    return text.replace('"DECIMAL"', "1.10")


@given(bundles())
@settings(max_examples=100, deadline=None)
def test_prepare_any_valid_bundle_loses_nothing_and_changes_no_byte(raw: bytes) -> None:
    source = read_bundle(raw, DEFAULT_LIMITS)
    text_of = {entry.value["fullUrl"]: entry.source["resource"] for entry in source.entries}
    type_of = {entry.value["fullUrl"]: entry.resource["resourceType"] for entry in source.entries}
    payloads = prepare(raw, frozenset({IDENTIFIER}))
    seen: dict[str, int] = dict.fromkeys(text_of, 0)
    for payload in payloads:
        part = read_bundle(payload.content, DEFAULT_LIMITS)
        assert part.value["type"] == "collection"
        inside = [entry.value["fullUrl"] for entry in part.entries]
        assert len(inside) == len(set(inside))
        for entry in part.entries:
            assert entry.source["resource"] == text_of[entry.value["fullUrl"]]
            seen[entry.value["fullUrl"]] += 1
        assert [type_of[url] for url in inside].count("Patient") == 1
        assert 1 <= payload.resource_count <= len(inside)
    for url, count in seen.items():
        assert count == 1 or (count > 1 and type_of[url] in CONTEXT | {"Patient"}), (type_of[url], count)
    homes = sum(payload.resource_count for payload in payloads)
    assert (
        len(text_of) - sum(kind in CONTEXT | {"Patient"} for kind in type_of.values())
        <= homes
        <= len(text_of)
    )


@given(bundles())
@settings(max_examples=200, deadline=None)
def test_prepare_payload_of_any_bundle_is_itself_a_bundle_that_prepares_to_the_same(raw: bytes) -> None:
    for payload in prepare(raw, None):
        again = prepare(payload.content, frozenset({IDENTIFIER}))
        if b"v3-ActCode" in raw:  # a label may have come from a resource in another payload
            continue
        same = [other for other in again if other.category is payload.category]
        assert [replace(other, content=b"") for other in same] == [replace(payload, content=b"")]


@given(bundles())
@settings(max_examples=100, deadline=None)
def test_prepare_no_labelled_resource_stands_outside_a_sensitive_category(raw: bytes) -> None:
    for payload in prepare(raw, None):
        sensitive = payload.category in SENSITIVE_CATEGORIES
        assert sensitive or b"v3-ActCode" not in payload.content
        if sensitive:
            assert payload.period == payload.period.calendar_years()


@given(bundles())
@settings(max_examples=100, deadline=None)
def test_prepare_period_covers_each_dated_resource_at_home(raw: bytes) -> None:
    for payload in prepare(raw, None):
        assert isinstance(payload.period, DayPeriod)
        for entry in read_bundle(payload.content, DEFAULT_LIMITS).entries:
            day = entry.resource.get("effectiveDateTime", entry.resource.get("onsetDateTime"))
            if day is not None:
                middle = date(int(day[:4]), 7, 1).toordinal()
                year = DayPeriod(middle, middle)
                assert payload.period.calendar_years().covers(year)


@given(bundles())
@settings(max_examples=50, deadline=None)
def test_describe_any_payload_has_a_row_for_each_clinical_resource(raw: bytes) -> None:
    for payload in prepare(raw, None):
        rows = describe(payload.content).rows
        clinical = [
            entry.resource
            for entry in read_bundle(payload.content, DEFAULT_LIMITS).entries
            if entry.resource["resourceType"] not in CONTEXT | {"Patient"}
        ]
        assert len([row for row in rows if row.resource_type not in CONTEXT]) == len(clinical)
        assert {row.kind for row in rows if row.resource_type not in CONTEXT} == {
            category_of(resource).label.replace("-", " ").capitalize() for resource in clinical
        }


@given(bundles(), st.data())
@settings(max_examples=200, deadline=None)
def test_fuzz_prepare_damaged_bundle_raises_nothing_but_records_error(
    raw: bytes, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 20)))
    damaged = (
        raw[:start]
        + data.draw(st.one_of(st.just(b""), st.binary(max_size=6), st.sampled_from(JUNK)))
        + raw[end:]
    )
    for use in (prepare_any, describe):
        assert "\n" not in (refusal(use, damaged) or "")


def prepare_any(raw: bytes) -> object:
    return prepare(raw, None)


def refusal(use: Callable[[bytes], object], raw: bytes) -> str | None:
    """The message with which ``use`` refuses the bytes; any other exception than RecordsError goes through."""
    try:
        use(raw)
    except RecordsError as error:
        return str(error)
    return None


JUNK = [
    b"null",
    b"[]",
    b"{}",
    b'"',
    b"1e99",
    b'{"reference":1}',
    b'[{"coding":[null]}]',
    b"\\u0000",
    b"true",
    b"[[1]]",
]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["Patient", "Observation", "Bundle", "2019-02-30", "Patient/1", "#x", "entered-in-error"]
    ),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "resourceType",
                    "id",
                    "meta",
                    "security",
                    "system",
                    "code",
                    "coding",
                    "text",
                    "status",
                    "subject",
                    "reference",
                    "identifier",
                    "value",
                    "entry",
                    "resource",
                    "fullUrl",
                    "type",
                    "contained",
                    "category",
                    "effectivePeriod",
                    "start",
                    "end",
                    "event",
                    "repeat",
                    "boundsPeriod",
                    "valueQuantity",
                    "component",
                    "name",
                    "given",
                    "family",
                    "dosageInstruction",
                    "timing",
                    "item",
                    "answer",
                    "total",
                    "url",
                    "contentType",
                    "extension",
                ]
            ),
            children,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(
    values,
    st.sampled_from(
        ["Observation", "Claim", "MedicationRequest", "Patient", "QuestionnaireResponse", "CarePlan"]
    ),
    values,
)
@settings(max_examples=300, deadline=None)
def test_fuzz_any_json_in_a_bundle_raises_nothing_but_records_error(
    entry: Any, kind: str, inner: Any
) -> None:
    resource = {"resourceType": kind, **(inner if isinstance(inner, dict) else {"code": inner})}
    resource["resourceType"] = kind
    for entries in (entry, [entry], [{"resource": entry}], [{"resource": resource}]):
        raw = json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode(
            "utf-8", "replace"
        )
        for use in (prepare_any, describe):
            assert refusal(use, raw) != ""


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_fuzz_any_bytes_raise_nothing_but_records_error(raw: bytes) -> None:
    for use in (prepare_any, describe):
        assert refusal(use, raw) != ""


def test_prepare_context_named_only_by_other_context_is_at_home_with_what_names_it() -> None:
    """An organization that only an unused device names: both in one payload, counted once, again and again."""
    patient = {"resourceType": "Patient", "active": True}
    device = {
        "resourceType": "Device",
        "owner": {"reference": "urn:uuid:00000000-0000-4000-8000-000000000002"},
    }
    owner = {"resourceType": "Organization", "name": "Maker"}
    resources = [patient, device, owner]
    entries = [
        {"fullUrl": f"urn:uuid:00000000-0000-4000-8000-{index:012}", "resource": resource}
        for index, resource in enumerate(resources)
    ]
    raw = json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()
    (payload,) = prepare(raw, None)
    assert payload.resource_count == 1
    (again,) = prepare(payload.content, None)
    assert replace(again, content=b"") == replace(payload, content=b"")


def test_prepare_context_that_names_each_other_in_a_circle_has_one_home() -> None:
    reference = "urn:uuid:00000000-0000-4000-8000-{:012}"
    resources = [
        {"resourceType": "Patient", "active": True},
        {"resourceType": "Organization", "name": "A", "partOf": {"reference": reference.format(2)}},
        {"resourceType": "Organization", "name": "B", "partOf": {"reference": reference.format(1)}},
    ]
    entries = [{"fullUrl": reference.format(i), "resource": r} for i, r in enumerate(resources)]
    raw = json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()
    (payload,) = prepare(raw, None)
    assert payload.resource_count == 1
    assert len(json.loads(payload.content)["entry"]) == 3
