"""Each fault is named with its place, what was expected and what came, without anyone's data."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from records import InvalidBundleError, prepare
from records.schema import SCHEMA_PATH, resource_types, validator_of

Build = Callable[..., bytes]
Resource = dict[str, Any]

_AT = "Bundle.entry[1].resource"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "finished"}, f"{_AT}.status: expected one of registered, preliminary, final, amended"),
        ({"status": "Ada Lovelace"}, "came a string of 12 characters"),
        ({"status": None}, f"{_AT}.status: expected a value"),
        ({"status": ...}, f"{_AT}.status: expected a value (required); came none"),
        ({"code": ...}, f"{_AT}.code: expected a value (required); came none"),
        ({"code": "HbA1c"}, f"{_AT}.code: expected an object; came a string of 5 characters"),
        ({"category": {}}, f"{_AT}.category: expected an array; came an object"),
        ({"category": []}, f"{_AT}.category: expected an array with at least one item"),
        ({"category": [{}]}, f"{_AT}.category[0]: expected an object with at least one member"),
        ({"effectiveDateTime": "02.03.2019"}, f"{_AT}.effectiveDateTime: expected a dateTime as YYYY"),
        ({"effectiveDateTime": "2019-02-30"}, f"{_AT}.effectiveDateTime: expected a day of the calendar"),
        ({"valueString": "high"}, "expected one element only of a choice; came several"),
        ({"valueQuantity": {"value": "5.4"}}, f"{_AT}.valueQuantity.value: expected a number; came a string"),
        ({"finding": "x"}, f"{_AT}.finding: expected an element of FHIR R4; came an unknown one"),
        ({"Ada Lovelace": "x"}, f"{_AT}.(no element name): expected an element of FHIR R4"),
        ({"id": "a b"}, f"{_AT}.id: expected an id of at most 64"),
        ({"subject": {"reference": ""}}, f"{_AT}.subject.reference: expected a string that is not empty"),
        ({"resourceType": "Observatoin"}, f"{_AT}.resourceType: expected a resource type of FHIR R4"),
        ({"resourceType": ...}, f"{_AT}.resourceType: expected a resource type of FHIR R4; came none"),
        ({"note": [{"text": "bell \x07"}]}, f"{_AT}: expected text without control characters"),
        ({"method": {"text": "a", "coding": [None]}}, f"{_AT}.method.coding[0]: expected"),
        (
            {"contained": [{"resourceType": "Specimen", "id": "s", "status": "lost"}]},
            f"{_AT}.contained[0].status: expected one of available, unavailable",
        ),
        ({"contained": [{"id": "s"}]}, f"{_AT}.contained[0].resourceType: expected a value (required)"),
        ({"effectiveDateTime": ..., "effectivePeriod": {"start": "2020", "end": "2019"}}, "an earlier end"),
    ],
)
def test_prepare_invalid_observation_names_place_expected_and_came(
    bundle_of: Build, observation: Resource, change: Resource, message: str
) -> None:
    changed = {k: v for k, v in {**observation, **change}.items() if v is not ...}
    with pytest.raises(InvalidBundleError) as caught:
        prepare(bundle_of(changed), None)
    assert message in str(caught.value)
    assert "Lovelace" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"type": "message"}, "Bundle.type: expected one of collection, document, transaction"),
        ({"type": "patients"}, "Bundle.type: expected one of document, message"),
        ({"type": None}, "Bundle.type: expected"),
        ({"entry": []}, "Bundle.entry: expected at least one entry; came none"),
        ({"entry": {}}, "Bundle.entry: expected an array; came an object"),
        ({"entry": [1]}, "Bundle.entry[0]: expected an object; came a number"),
        ({"entry": [{}]}, "Bundle.entry[0].resource: expected a resource"),
        (
            {"entry": [{"resource": 1}]},
            "Bundle.entry[0].resource: expected a resource, a JSON object; came a number",
        ),
        (
            {"type": "transaction", "entry": [{"request": {"method": "DELETE", "url": "Patient/1"}}]},
            "deletions and queries are no records",
        ),
        ({"type": "document"}, "Bundle.entry[0].resource: expected a Composition"),
        ({"total": "many"}, "Bundle.total: expected a number; came a string of 4 characters"),
        ({"meta": {}}, "Bundle.meta: expected an object with at least one member"),
        ({"entries": []}, "Bundle.entries: expected an element of FHIR R4"),
    ],
)
def test_prepare_invalid_bundle_names_place_expected_and_came(
    bundle_of: Build, members: Resource, message: str
) -> None:
    with pytest.raises(InvalidBundleError) as caught:
        prepare(bundle_of(**members), None)
    assert message in str(caught.value)


def test_prepare_same_full_url_twice_is_refused(bundle_of: Build, observation: Resource) -> None:
    with pytest.raises(InvalidBundleError, match=r"entry\[2\]\.fullUrl: expected a fullUrl of its own"):
        prepare(bundle_of(observation, observation), None)


def test_prepare_many_faults_lists_five_and_counts_the_rest(bundle_of: Build, observation: Resource) -> None:
    broken = [{**observation, "id": f"o{number}", "status": "done"} for number in range(12)]
    with pytest.raises(InvalidBundleError, match=r"\(and 7 more\)") as caught:
        prepare(bundle_of(*broken), None)
    assert len(caught.value.issues) == 5
    assert caught.value.more_count == 7
    assert caught.value.issues[4].location == "Bundle.entry[5].resource.status"


@pytest.mark.parametrize(
    "change",
    [
        {"status": ..., "_status": {"extension": [{"url": "urn:x", "valueCode": "unknown"}]}},
        {"note": [{"text": "tab\tline\r\nend"}]},
        {"valueQuantity": ..., "valueString": "\U0001f600"},
        {"valueQuantity": ..., "valueString": "no-break\u00a0and\u3000ideographic space"},
        {"effectiveDateTime": "2016-12-31T23:59:60Z"},
    ],
)
def test_prepare_valid_observation_passes(bundle_of: Build, observation: Resource, change: Resource) -> None:
    changed = {k: v for k, v in {**observation, **change}.items() if v is not ...}
    assert prepare(bundle_of(changed), None)


def test_prepare_null_with_an_extension_in_its_place_passes(bundle_of: Build, patient: Resource) -> None:
    """FHIR R4, 2.6.2.1.1: null keeps the place of a value that has only an extension."""
    patient["name"][0]["given"] = ["Ada", None]
    patient["name"][0]["_given"] = [None, {"extension": [{"url": "urn:x", "valueCode": "masked"}]}]
    assert prepare(bundle_of(), None)
    del patient["name"][0]["_given"]
    with pytest.raises(InvalidBundleError, match=r"name\[0\]\.given\[1\]: expected a value or an extension"):
        prepare(bundle_of(), None)


def test_validator_of_every_type_accepts_nothing_but_its_type() -> None:
    assert len(resource_types()) == 146
    for resource_type in sorted(resource_types()):
        assert not validator_of(resource_type).is_valid({"resourceType": "Nothing"})
    assert validator_of("Basic").is_valid({"resourceType": "Basic", "code": {"text": "x"}})


def test_required_elements_and_choices_are_of_the_schema() -> None:
    """The table derived from the StructureDefinitions fits the schema that it completes."""
    definitions = json.loads(SCHEMA_PATH.read_bytes())["definitions"]
    table = json.loads((SCHEMA_PATH.parents[3] / "records/r4_elements.json").read_bytes())
    assert table["Observation"]["required"] == ["status"]
    assert table["MedicationRequest"]["required"] == ["status", "intent", "medication[x]"]
    for name, rules in table.items():
        properties = definitions[name]["properties"]
        choices = {base: names for base, *names in rules["choices"]}
        assert all(member in properties for names in choices.values() for member in names)
        for element in rules["required"]:
            assert element.removesuffix("[x]") in (choices if element.endswith("[x]") else properties)


def test_validator_of_unknown_type_raises() -> None:
    with pytest.raises(KeyError):
        validator_of("Definition")


def test_prepare_required_choice_missing_names_the_ways_to_give_it(bundle_of: Build) -> None:
    request = {
        "resourceType": "MedicationRequest",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/p1"},
    }
    with pytest.raises(
        InvalidBundleError, match="one of medicationCodeableConcept, medicationReference; came none"
    ):
        prepare(bundle_of(request), None)


def test_prepare_invalid_value_of_a_person_is_never_echoed(bundle_of: Build, patient: Resource) -> None:
    patient["birthDate"] = "10 December 1815"
    patient["name"][0]["family"] = 1815
    patient["gender"] = "Countess of Lovelace"
    patient["telecom"] = [{"system": "phone", "value": ["+44 20 1815"]}]
    with pytest.raises(InvalidBundleError) as caught:
        prepare(bundle_of(), None)
    text = str(caught.value)
    assert len(caught.value.issues) == 4
    assert not any(secret in text for secret in ("1815", "Countess", "Lovelace", "December"))
    assert json.loads(bundle_of())["entry"][0]["resource"]["birthDate"] == "10 December 1815"
