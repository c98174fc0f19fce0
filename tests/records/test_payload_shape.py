"""What stands in a payload beside the resources that are at home in it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from records import (
    FHIR_JSON,
    InputLimits,
    InputTooLargeError,
    RecordPayload,
    SchemaUnavailableError,
    prepare,
    schema,
)
from vocabulary import UNDATED, Category

Build = Callable[..., bytes]
Resource = dict[str, Any]
PRACTITIONER = {"resourceType": "Practitioner", "id": "d1", "name": [{"family": "Jones"}]}
ORGANIZATION = {"resourceType": "Organization", "id": "h1", "name": "Hospital"}


def ids(payload: RecordPayload) -> list[str]:
    return [entry["resource"]["id"] for entry in json.loads(payload.content)["entry"]]


def test_prepare_patient_alone_is_a_patient_summary(bundle_of: Build) -> None:
    (payload,) = prepare(bundle_of(), None)
    assert (payload.category, payload.period, payload.resource_count) == (
        Category.PATIENT_SUMMARY,
        UNDATED,
        1,
    )
    assert payload.media_type == FHIR_JSON == "application/fhir+json"


def test_prepare_patient_with_their_practitioner_is_a_patient_summary(
    bundle_of: Build, patient: Resource
) -> None:
    patient["generalPractitioner"] = [{"reference": "Practitioner/d1"}]
    (payload,) = prepare(bundle_of(PRACTITIONER), None)
    assert (payload.category, ids(payload), payload.resource_count) == (
        Category.PATIENT_SUMMARY,
        ["p1", "d1"],
        1,
    )


def test_prepare_context_is_repeated_only_where_it_is_referred_to(
    bundle_of: Build, observation: Resource
) -> None:
    role = {
        "resourceType": "PractitionerRole",
        "id": "r1",
        "practitioner": {"reference": "Practitioner/d1"},
        "organization": {"reference": "Organization/h1"},
    }
    observation["performer"] = [{"reference": "PractitionerRole/r1"}]
    condition = {
        "resourceType": "Condition",
        "id": "c1",
        "code": {"text": "Asthma"},
        "subject": {"reference": "Patient/p1"},
        "onsetDateTime": "2019",
    }
    payloads = prepare(bundle_of(observation, condition, role, PRACTITIONER, ORGANIZATION), None)
    assert [(p.category, ids(p), p.resource_count) for p in payloads] == [
        (Category.CONDITION, ["p1", "c1"], 1),
        (Category.LABORATORY, ["p1", "o1", "r1", "d1", "h1"], 1),
    ]


def test_prepare_context_that_nothing_refers_to_is_not_lost(bundle_of: Build, observation: Resource) -> None:
    device = {"resourceType": "Device", "id": "scale"}
    payloads = prepare(bundle_of(observation, PRACTITIONER, device), None)
    assert [(p.category, ids(p), str(p.period)) for p in payloads] == [
        (Category.PATIENT_SUMMARY, ["p1", "d1"], "unbounded to unbounded"),
        (Category.LABORATORY, ["p1", "o1"], "2019-03-02"),
        (Category.DEVICE, ["p1", "scale"], "unbounded to unbounded"),
    ]


def test_prepare_implant_is_a_record_and_not_repeated_as_context(
    bundle_of: Build, observation: Resource
) -> None:
    observation["device"] = {"reference": "Device/pump"}
    device = {"resourceType": "Device", "id": "pump"}
    (together,) = prepare(bundle_of(observation, device), None)
    assert ids(together) == ["p1", "o1", "pump"]
    implant = {**device, "patient": {"reference": "Patient/p1"}}
    assert [ids(p) for p in prepare(bundle_of(observation, implant), None)] == [["p1", "o1"], ["p1", "pump"]]


def test_prepare_transaction_becomes_collections_without_requests(
    patient: Resource, observation: Resource
) -> None:
    request = {"method": "POST", "url": "x"}
    entries = [
        {"fullUrl": "urn:uuid:11111111-1111-4111-8111-111111111111", "resource": patient, "request": request},
        {
            "id": "e1",
            "extension": [{"url": "urn:x", "valueCode": "y"}],
            "resource": observation,
            "request": request,
        },
    ]
    bundle = {
        "resourceType": "Bundle",
        "id": "b",
        "implicitRules": "urn:rules",
        "type": "transaction",
        "entry": entries,
    }
    (payload,) = prepare(json.dumps(bundle).encode(), None)
    entries[1].pop("request")
    assert json.loads(payload.content) == {
        "resourceType": "Bundle",
        "implicitRules": "urn:rules",
        "type": "collection",
        "entry": [{"fullUrl": entries[0]["fullUrl"], "resource": patient}, entries[1]],
    }


def test_prepare_type_with_an_element_named_reference_passes(bundle_of: Build) -> None:
    """DetectedIssue.reference is a uri of the resource itself, not a Reference."""
    issue = {
        "resourceType": "DetectedIssue",
        "id": "i1",
        "status": "final",
        "patient": {"reference": "Patient/p1"},
        "identifiedDateTime": "2020-02-02",
        "reference": "https://interactions.example/42",
    }
    (payload,) = prepare(bundle_of(issue), None)
    assert (payload.category, str(payload.period)) == (Category.CONDITION, "2020-02-02")


def test_prepare_decimals_escapes_and_spaces_stay_as_written(bundle_of: Build, observation: Resource) -> None:
    observation["valueQuantity"] = {"value": 815, "unit": "%"}
    observation["code"] = {"text": "ESCAPED"}
    raw = (
        bundle_of(observation)
        .replace(b"815", b"1.10e0")
        .replace(b"ESCAPED", b"\\u00e9\\/\\ud83d\\ude00 \xc3\xa9")
    )
    (payload,) = prepare(raw, None)
    assert b'"value": 1.10e0' in payload.content
    assert b'"\\u00e9\\/\\ud83d\\ude00 \xc3\xa9"' in payload.content


def test_attack_huge_patient_repeated_in_many_payloads_is_refused(
    bundle_of: Build, patient: Resource, observation: Resource
) -> None:
    patient["name"][0]["text"] = "x" * 10_000
    results = [
        {**observation, "id": f"o{year}", "effectiveDateTime": str(year)} for year in range(1900, 2000)
    ]
    raw = bundle_of(*results)
    assert len(prepare(raw, None)) == 100
    with pytest.raises(InputTooLargeError, match="repeated in 100 payloads"):
        prepare(raw, None, InputLimits(size_bytes=len(raw)))


def test_prepare_without_the_schema_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "SCHEMA_PATH", tmp_path / "fhir.schema.json")
    with pytest.raises(SchemaUnavailableError, match="run `npm ci --ignore-scripts`"):
        schema._schema.__wrapped__()
