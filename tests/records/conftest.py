"""Small bundles to vary: a patient, a laboratory result, and what a test adds."""

import json
from collections.abc import Callable
from typing import Any

import pytest

Resource = dict[str, Any]
PATIENT_URL = "urn:uuid:11111111-1111-4111-8111-111111111111"
LABELS = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


@pytest.fixture
def patient() -> Resource:
    return {
        "resourceType": "Patient",
        "id": "p1",
        "identifier": [{"system": "https://hospital.example/mrn", "value": "MRN-1"}],
        "name": [{"family": "Lovelace", "given": ["Ada"]}],
    }


@pytest.fixture
def observation() -> Resource:
    return {
        "resourceType": "Observation",
        "id": "o1",
        "status": "final",
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                        "code": "laboratory",
                    }
                ]
            }
        ],
        "code": {"text": "Hemoglobin A1c"},
        "subject": {"reference": PATIENT_URL},
        "effectiveDateTime": "2019-03-02",
        "valueQuantity": {"value": 5.4, "unit": "%"},
    }


@pytest.fixture
def bundle_of(patient: Resource) -> Callable[..., bytes]:
    """A collection of the patient and the given resources, as bytes; members of the Bundle by keyword."""

    def build(*resources: Resource, with_patient: bool = True, **members: Any) -> bytes:
        entries = [{"fullUrl": PATIENT_URL, "resource": patient}] if with_patient else []
        entries += [
            {"fullUrl": f"https://fhir.example/{r.get('resourceType')}/{r.get('id', index)}", "resource": r}
            for index, r in enumerate(resources)
        ]
        return json.dumps(
            {"resourceType": "Bundle", "type": "collection", "entry": entries, **members}
        ).encode()

    return build


@pytest.fixture
def label() -> Callable[[str], Resource]:
    """``meta`` with a security label of v3-ActCode."""
    return lambda code: {"security": [{"system": LABELS, "code": code}]}
