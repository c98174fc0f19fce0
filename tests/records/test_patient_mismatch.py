"""Attacks and accidents: bundles that are not, or not only, about the registered patient."""

from collections.abc import Callable
from typing import Any

import pytest

from records import PatientIdentifier, PatientMismatchError, prepare

Build = Callable[..., bytes]
Resource = dict[str, Any]
PATIENT_URL = "urn:uuid:11111111-1111-4111-8111-111111111111"
MRN = "https://hospital.example/mrn"
ADA = frozenset({PatientIdentifier(MRN, "MRN-1")})


def test_prepare_identifier_of_the_registered_patient_passes(bundle_of: Build, observation: Resource) -> None:
    assert prepare(bundle_of(observation), ADA)


def test_prepare_one_of_several_registered_identifiers_is_enough(bundle_of: Build) -> None:
    assert prepare(bundle_of(), ADA | {PatientIdentifier("urn:national", "1815")})


@pytest.mark.parametrize(
    "identifier",
    [
        {"system": MRN, "value": "MRN-2"},
        {"system": MRN, "value": "mrn-1"},
        {"system": MRN, "value": " MRN-1"},
        {"system": "https://other.example/mrn", "value": "MRN-1"},
        {"value": "MRN-1"},
        {"system": MRN},
    ],
)
def test_attack_other_patients_identifier_is_refused(
    bundle_of: Build, patient: Resource, identifier: Resource
) -> None:
    patient["identifier"] = [identifier]
    with pytest.raises(
        PatientMismatchError, match=r"entry\[0\]\.resource\.identifier: expected an identifier"
    ):
        prepare(bundle_of(), ADA)


def test_attack_shared_national_number_with_another_record_number_is_refused(
    bundle_of: Build, patient: Resource
) -> None:
    national = {"system": "urn:national", "value": "1815"}
    patient["identifier"] = [national, {"system": MRN, "value": "MRN-2"}]
    with pytest.raises(PatientMismatchError, match="two people may be mixed up"):
        prepare(bundle_of(), ADA | {PatientIdentifier("urn:national", "1815")})


def test_attack_second_patient_in_the_bundle_is_refused(bundle_of: Build, patient: Resource) -> None:
    other = {**patient, "id": "p2"}
    for identifiers in (None, ADA):
        with pytest.raises(PatientMismatchError, match="expected one Patient in the bundle; came 2"):
            prepare(bundle_of(other), identifiers)


def test_prepare_no_patient_for_a_registered_one_is_refused(bundle_of: Build, observation: Resource) -> None:
    with pytest.raises(PatientMismatchError, match="came none"):
        prepare(bundle_of(observation, with_patient=False), ADA)


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": "Patient/p2"},
        {"reference": "urn:uuid:22222222-2222-4222-8222-222222222222"},
        {"reference": "https://other.example/Patient/p1"},
        {"reference": "Patient/p1/extra"},
        {"reference": "Patient?identifier=https://hospital.example/mrn|MRN-2"},
        {"reference": "Patient?name=Ada"},
        {"reference": "Patient?identifier=https://hospital.example/mrn|MRN-1&identifier=x|y"},
        {"reference": "#nobody"},
        {"reference": "Group/g1"},
        {"identifier": {"system": MRN, "value": "MRN-2"}},
        {"identifier": {"value": "MRN-1"}},
        {"display": "Ada Lovelace"},
        {"type": "Patient", "display": "Ada Lovelace"},
    ],
)
def test_attack_result_of_another_patient_slipped_in_is_refused(
    bundle_of: Build, observation: Resource, subject: Resource
) -> None:
    with pytest.raises(PatientMismatchError) as caught:
        prepare(bundle_of(observation, {**observation, "id": "o2", "subject": subject}), ADA)
    message = str(caught.value)
    assert message.startswith(
        "Bundle.entry[2].resource.subject: expected a reference to the bundle's Patient"
    )
    assert not any(secret in message for secret in ("MRN", "Lovelace", "p2", "2222"))


@pytest.mark.parametrize(
    "subject",
    [
        {"reference": PATIENT_URL},
        {"reference": "Patient/p1"},
        {"reference": "Patient/p1/_history/3"},
        {"reference": "Patient?identifier=https://hospital.example/mrn|MRN-1"},
        {"reference": "Patient?identifier=https://hospital.example/mrn%7CMRN-1"},
        {"identifier": {"system": MRN, "value": "MRN-1"}},
        {"reference": "Device/pump"},
        {"type": "Device", "display": "Infusion pump"},
    ],
)
def test_prepare_subject_that_is_the_patient_or_a_thing_passes(
    bundle_of: Build, observation: Resource, subject: Resource
) -> None:
    assert prepare(bundle_of({**observation, "subject": subject}), ADA)


def test_attack_another_patient_as_performer_or_deep_inside_is_refused(
    bundle_of: Build, observation: Resource
) -> None:
    for change, place in (
        ({"performer": [{"reference": "Patient/p2"}]}, "performer[0]"),
        (
            {"note": [{"text": "x", "authorReference": {"reference": "Patient/p2"}}]},
            "note[0].authorReference",
        ),
        (
            {"extension": [{"url": "urn:x", "valueReference": {"reference": "https://x.example/Patient/1"}}]},
            "extension[0].valueReference",
        ),
    ):
        with pytest.raises(PatientMismatchError) as caught:
            prepare(bundle_of({**observation, **change}), ADA)
        assert f"Bundle.entry[1].resource.{place}: " in str(caught.value)


def test_attack_another_patient_contained_is_refused(bundle_of: Build, observation: Resource) -> None:
    inside = {"resourceType": "Patient", "id": "c", "identifier": [{"system": MRN, "value": "MRN-2"}]}
    changed = {**observation, "contained": [inside], "subject": {"reference": "#c"}}
    with pytest.raises(PatientMismatchError, match=r"contained\[0\]: expected a contained Patient"):
        prepare(bundle_of(changed), ADA)
    inside["identifier"] = [{"system": MRN, "value": "MRN-1"}]
    assert prepare(bundle_of(changed), ADA)


def test_attack_another_patient_in_a_nested_bundle_is_refused(bundle_of: Build, patient: Resource) -> None:
    other = {**patient, "identifier": [{"system": MRN, "value": "MRN-2"}]}
    nested = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": other}]}
    with pytest.raises(PatientMismatchError, match=r"entry\[1\]\.resource\.entry\[0\]\.resource: expected"):
        prepare(bundle_of(nested), ADA)


def test_attack_another_patients_result_in_a_document_is_refused(
    bundle_of: Build, observation: Resource
) -> None:
    composition = {
        "resourceType": "Composition",
        "status": "final",
        "type": {"text": "Letter"},
        "subject": {"reference": "Patient/p1"},
        "date": "2020-01-01",
        "author": [{"display": "Dr Jones"}],
        "title": "Letter",
    }
    observation["subject"] = {"reference": "Patient/p2"}
    entries = [
        {"fullUrl": f"urn:oid:1.2.{n}", "resource": r} for n, r in enumerate((composition, observation))
    ]
    entries.append({"fullUrl": PATIENT_URL, "resource": {"resourceType": "Patient", "id": "p1"}})
    with pytest.raises(PatientMismatchError, match=r"entry\[1\]\.resource\.subject"):
        prepare(bundle_of(type="document", entry=entries), None)


def test_prepare_insurance_held_by_another_person_passes(bundle_of: Build) -> None:
    coverage = {
        "resourceType": "Coverage",
        "status": "active",
        "beneficiary": {"reference": "Patient/p1"},
        "subscriber": {"reference": "Patient/parent"},
        "payor": [{"display": "NHIS"}],
    }
    assert prepare(bundle_of(coverage), ADA)
    with pytest.raises(PatientMismatchError, match=r"resource\.beneficiary"):
        prepare(bundle_of({**coverage, "beneficiary": {"reference": "Patient/parent"}}), ADA)


def test_prepare_same_id_on_two_servers_is_told_apart(
    bundle_of: Build, patient: Resource, observation: Resource
) -> None:
    """A relative reference is resolved against the server of the entry that holds it (FHIR R4, 2.36.4.1)."""
    entries = [
        {"fullUrl": "https://a.example/fhir/Patient/p1", "resource": patient},
        {
            "fullUrl": "https://a.example/fhir/Observation/o1",
            "resource": {**observation, "subject": {"reference": "Patient/p1"}},
        },
    ]
    assert prepare(bundle_of(entry=entries), ADA)
    entries[1]["resource"]["subject"] = {"reference": "https://b.example/fhir/Patient/p1"}  # type: ignore[index]
    with pytest.raises(PatientMismatchError):
        prepare(bundle_of(entry=entries), ADA)


def test_patient_identifier_repr_hides_the_value() -> None:
    assert "MRN-1" not in repr(PatientIdentifier(MRN, "MRN-1"))
    with pytest.raises(ValueError, match="expected an identifier with a value"):
        PatientIdentifier(MRN, "")
