"""Labels move resources into sensitive categories, and travel along references."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from records import RecordPayload, prepare
from vocabulary import Category

Build = Callable[..., bytes]
Resource = dict[str, Any]
Label = Callable[[str], Resource]


def homes(payloads: tuple[RecordPayload, ...]) -> dict[str, Category]:
    """The category of each resource but the patient, by id."""
    return {
        entry["resource"]["id"]: payload.category
        for payload in payloads
        for entry in json.loads(payload.content)["entry"]
        if entry["resource"]["resourceType"] != "Patient"
    }


@pytest.fixture
def condition() -> Resource:
    return {
        "resourceType": "Condition",
        "id": "c1",
        "code": {"text": "Alcohol dependence"},
        "subject": {"reference": "Patient/p1"},
        "onsetDateTime": "2018-05-06",
    }


@pytest.mark.parametrize(
    ("code", "category"),
    [
        ("PSY", Category.MENTAL_HEALTH),
        ("BH", Category.MENTAL_HEALTH),
        ("SDV", Category.MENTAL_HEALTH),
        ("ETH", Category.SUBSTANCE_USE),
        ("SUD", Category.SUBSTANCE_USE),
        ("HIV", Category.REPRODUCTIVE_HEALTH),
        ("STD", Category.REPRODUCTIVE_HEALTH),
        ("SEX", Category.REPRODUCTIVE_HEALTH),
        ("GDIS", Category.GENOMICS),
        ("TBOO", Category.LABORATORY),
    ],
)
def test_prepare_labelled_resource_moves_whatever_its_type(
    bundle_of: Build, observation: Resource, label: Label, code: str, category: Category
) -> None:
    assert homes(prepare(bundle_of({**observation, "meta": label(code)}), None)) == {"o1": category}


def test_prepare_code_of_another_system_moves_nothing(bundle_of: Build, observation: Resource) -> None:
    observation["meta"] = {"security": [{"system": "urn:local", "code": "PSY"}]}
    assert homes(prepare(bundle_of(observation), None)) == {"o1": Category.LABORATORY}


def test_prepare_label_beside_an_unlabelled_twin_moves_one(
    bundle_of: Build, observation: Resource, label: Label
) -> None:
    twin = {**observation, "id": "o2", "meta": label("HIV")}
    payloads = prepare(bundle_of(observation, twin), None)
    assert homes(payloads) == {"o1": Category.LABORATORY, "o2": Category.REPRODUCTIVE_HEALTH}
    assert [str(p.period) for p in payloads] == ["2019-03-02", "2019-01-01 to 2019-12-31"]


def test_prepare_several_labels_take_the_strictest(
    bundle_of: Build, observation: Resource, label: Label
) -> None:
    both = {"security": label("GDIS")["security"] + label("ETH")["security"]}
    assert homes(prepare(bundle_of({**observation, "meta": both}), None)) == {"o1": Category.SUBSTANCE_USE}


def test_attack_claim_tells_a_labelled_diagnosis_moves_with_it(
    bundle_of: Build, condition: Resource, label: Label
) -> None:
    claim = {
        "resourceType": "Claim",
        "id": "claim",
        "status": "active",
        "type": {"text": "institutional"},
        "use": "claim",
        "patient": {"reference": "Patient/p1"},
        "created": "2018-06-01",
        "provider": {"display": "Clinic"},
        "priority": {"text": "normal"},
        "insurance": [{"sequence": 1, "focal": True, "coverage": {"display": "NHIS"}}],
        "diagnosis": [{"sequence": 1, "diagnosisReference": {"reference": "Condition/c1"}}],
    }
    benefit = {
        "resourceType": "ExplanationOfBenefit",
        "id": "eob",
        "status": "active",
        "type": {"text": "institutional"},
        "use": "claim",
        "patient": {"reference": "Patient/p1"},
        "created": "2018-06-02",
        "insurer": {"display": "NHIS"},
        "provider": {"display": "Clinic"},
        "outcome": "complete",
        "insurance": [{"focal": True, "coverage": {"display": "NHIS"}}],
        "claim": {"reference": "Claim/claim"},
    }
    moved = homes(prepare(bundle_of(benefit, claim, {**condition, "meta": label("ETH")}), None))
    assert set(moved.values()) == {Category.SUBSTANCE_USE}
    assert len(moved) == 3


def test_attack_labelled_report_with_unlabelled_result_moves_the_result(
    bundle_of: Build, observation: Resource, label: Label
) -> None:
    report = {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "meta": label("HIV"),
        "status": "final",
        "code": {"text": "Panel"},
        "subject": {"reference": "Patient/p1"},
        "result": [{"reference": "Observation/o1"}],
    }
    assert set(homes(prepare(bundle_of(observation, report), None)).values()) == {
        Category.REPRODUCTIVE_HEALTH
    }


def test_prepare_visit_of_a_labelled_encounter_keeps_its_own_category(
    bundle_of: Build, observation: Resource, label: Label
) -> None:
    encounter = {
        "resourceType": "Encounter",
        "id": "e1",
        "meta": label("PSY"),
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/p1"},
    }
    observation["encounter"] = {"reference": "Encounter/e1"}
    assert homes(prepare(bundle_of(observation, encounter), None)) == {
        "o1": Category.LABORATORY,
        "e1": Category.MENTAL_HEALTH,
    }


def test_attack_label_hidden_on_a_contained_resource_moves_the_whole(
    bundle_of: Build, observation: Resource, label: Label, condition: Resource
) -> None:
    observation["contained"] = [{**condition, "meta": label("PSY")}]
    observation["focus"] = [{"reference": "#c1"}]
    assert homes(prepare(bundle_of(observation), None)) == {"o1": Category.MENTAL_HEALTH}


def test_attack_inline_label_moves_the_whole(bundle_of: Build, observation: Resource, label: Label) -> None:
    url = "http://hl7.org/fhir/uv/security-label-ds4p/StructureDefinition/extension-inline-sec-label"
    coding = label("STD")["security"][0]
    observation["code"]["extension"] = [{"url": url, "valueCoding": coding}]
    assert homes(prepare(bundle_of(observation), None)) == {"o1": Category.REPRODUCTIVE_HEALTH}


def test_attack_attachment_of_a_labelled_document_goes_with_it(bundle_of: Build, label: Label) -> None:
    document = {
        "resourceType": "DocumentReference",
        "id": "d1",
        "meta": label("PSYTHPN"),
        "status": "current",
        "subject": {"reference": "Patient/p1"},
        "content": [{"attachment": {"contentType": "text/plain", "url": "https://fhir.example/Binary/b1"}}],
    }
    binary = {"resourceType": "Binary", "id": "b1", "contentType": "text/plain", "data": "eA=="}
    payloads = prepare(bundle_of(binary, document), None)
    assert homes(payloads) == {"b1": Category.MENTAL_HEALTH, "d1": Category.MENTAL_HEALTH}
    assert len(payloads) == 1


@pytest.mark.parametrize("where", ["patient", "bundle"])
def test_prepare_label_of_the_patient_or_the_bundle_holds_for_all(
    bundle_of: Build, patient: Resource, observation: Resource, condition: Resource, label: Label, where: str
) -> None:
    members = {"meta": label("PSY")} if where == "bundle" else {}
    if where == "patient":
        patient["meta"] = label("PSY")
    assert set(homes(prepare(bundle_of(observation, condition, **members), None)).values()) == {
        Category.MENTAL_HEALTH
    }


def test_prepare_label_of_the_bundle_that_an_entry_carries_tells_only_of_that_entry(
    bundle_of: Build, observation: Resource, condition: Resource, label: Label
) -> None:
    raw = bundle_of(observation, {**condition, "meta": label("ETH")}, meta=label("ETH"))
    assert homes(prepare(raw, None)) == {"o1": Category.LABORATORY, "c1": Category.SUBSTANCE_USE}


def test_prepare_labelled_medication_is_not_repeated_as_context(
    bundle_of: Build, observation: Resource, label: Label
) -> None:
    medication = {
        "resourceType": "Medication",
        "id": "m1",
        "meta": label("ETH"),
        "code": {"text": "Methadone"},
    }
    request = {
        "resourceType": "MedicationRequest",
        "id": "mr1",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/p1"},
        "medicationReference": {"reference": "Medication/m1"},
        "authoredOn": "2020-02-02",
    }
    payloads = prepare(bundle_of(observation, medication, request), None)
    assert homes(payloads) == {
        "o1": Category.LABORATORY,
        "m1": Category.SUBSTANCE_USE,
        "mr1": Category.SUBSTANCE_USE,
    }
    assert b"Methadone" not in payloads[0].content


def test_prepare_signed_bundle_with_a_label_is_sensitive_as_a_whole(
    bundle_of: Build, observation: Resource, label: Label
) -> None:
    signature = {
        "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.1"}],
        "when": "2025-07-01T07:59:50Z",
        "who": {"display": "Lab"},
    }
    raw = bundle_of({**observation, "meta": label("HIV")}, observation | {"id": "o2"}, signature=signature)
    (payload,) = prepare(raw, None)
    assert payload.category is Category.REPRODUCTIVE_HEALTH
    assert payload.content == raw
    assert str(payload.period) == "2019-01-01 to 2019-12-31"
