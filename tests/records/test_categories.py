"""Which category a resource belongs to."""

from typing import Any

import pytest

from records.categories import category_of
from records.schema import resource_types
from vocabulary import Category

Resource = dict[str, Any]
LOINC = "http://loinc.org"
V2 = "http://terminology.hl7.org/CodeSystem/v2-0074"
OBSERVATION = "http://terminology.hl7.org/CodeSystem/observation-category"


def concept(system: str, code: str) -> Resource:
    return {"coding": [{"system": system, "code": code}]}


def observation(category: str | None = None, **elements: Any) -> Resource:
    categories = [concept(OBSERVATION, category)] if category else []
    return {"resourceType": "Observation", "category": categories, **elements}


CASES: list[tuple[Resource, Category]] = [
    ({"resourceType": "Patient"}, Category.PATIENT_SUMMARY),
    ({"resourceType": "Encounter"}, Category.ENCOUNTER),
    ({"resourceType": "Condition", "code": {"text": "Asthma"}}, Category.CONDITION),
    ({"resourceType": "AllergyIntolerance"}, Category.ALLERGY),
    ({"resourceType": "MedicationRequest"}, Category.MEDICATION),
    ({"resourceType": "Immunization"}, Category.IMMUNIZATION),
    (observation("laboratory"), Category.LABORATORY),
    (observation(), Category.LABORATORY),
    (observation("unheard-of"), Category.LABORATORY),
    ({"resourceType": "DiagnosticReport", "category": [concept(V2, "LAB")]}, Category.LABORATORY),
    ({"resourceType": "ImagingStudy"}, Category.IMAGING),
    ({"resourceType": "DiagnosticReport", "category": [concept(V2, "RAD")]}, Category.IMAGING),
    ({"resourceType": "DiagnosticReport", "category": [concept(LOINC, "LP29684-5")]}, Category.IMAGING),
    ({"resourceType": "Procedure", "code": {"text": "Suture"}}, Category.PROCEDURE),
    (observation("vital-signs"), Category.VITAL_SIGNS),
    (observation(code=concept(LOINC, "85354-9")), Category.VITAL_SIGNS),
    ({"resourceType": "CarePlan"}, Category.CARE_PLAN),
    ({"resourceType": "DocumentReference"}, Category.DOCUMENT),
    ({"resourceType": "DiagnosticReport", "category": [concept(LOINC, "34117-2")]}, Category.DOCUMENT),
    ({"resourceType": "Provenance"}, Category.DOCUMENT),
    ({"resourceType": "FamilyMemberHistory"}, Category.FAMILY_HISTORY),
    (observation("survey"), Category.HEALTH_CHECKUP),
    (observation("social-history"), Category.HEALTH_CHECKUP),
    ({"resourceType": "QuestionnaireResponse"}, Category.HEALTH_CHECKUP),
    (observation("activity"), Category.LIFELOG),
    (observation("vital-signs", code=concept("urn:iso:std:iso:11073:10101", "150456")), Category.LIFELOG),
    ({"resourceType": "MolecularSequence"}, Category.GENOMICS),
    (observation("laboratory", code=concept(LOINC, "69548-6")), Category.GENOMICS),
    ({"resourceType": "DiagnosticReport", "category": [concept(V2, "GE")]}, Category.GENOMICS),
    ({"resourceType": "Procedure", "code": concept("http://www.ada.org/cdt", "D2740")}, Category.DENTAL),
    (
        {
            "resourceType": "Condition",
            "bodySite": [concept("http://terminology.hl7.org/CodeSystem/ex-tooth", "11")],
        },
        Category.DENTAL,
    ),
    (observation("survey", code=concept(LOINC, "44261-6")), Category.MENTAL_HEALTH),
    (observation("social-history", code=concept(LOINC, "82810-3")), Category.REPRODUCTIVE_HEALTH),
    (observation("survey", code=concept(LOINC, "75626-2")), Category.SUBSTANCE_USE),
    ({"resourceType": "Claim"}, Category.COVERAGE_AND_CLAIMS),
    ({"resourceType": "Device"}, Category.DEVICE),
]


@pytest.mark.parametrize(("resource", "category"), CASES)
def test_category_of_resource(resource: Resource, category: Category) -> None:
    assert category_of(resource) is category


def test_category_of_every_category_is_reached() -> None:
    assert {category for _, category in CASES} == set(Category)


def test_category_of_every_type_has_one() -> None:
    assert all(isinstance(category_of({"resourceType": name}), Category) for name in resource_types())
