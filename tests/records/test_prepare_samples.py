"""Real bundles through the whole of ``prepare``."""

import json
from pathlib import Path

import pytest

from records import InvalidBundleError, NotFhirError, PatientIdentifier, PatientMismatchError, prepare
from vocabulary import UNDATED, Category

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples"
pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="../shared/samples is not there")
SYNTHEA = sorted(SAMPLES.glob("synthea/*.json"))


@pytest.mark.parametrize("path", SYNTHEA, ids=lambda path: path.name[:12])
def test_prepare_synthea_history_places_every_entry_once_with_its_bytes(path: Path) -> None:
    raw = path.read_bytes()
    entries = json.loads(raw)["entry"]
    payloads = prepare(raw, None)
    urls = [entry["fullUrl"] for entry in entries]
    seen = [entry["fullUrl"] for payload in payloads for entry in json.loads(payload.content)["entry"]]
    assert set(seen) == set(urls)
    context = sum(
        entry["resource"]["resourceType"] in ("Patient", "Practitioner", "Organization") for entry in entries
    )
    assert sum(payload.resource_count for payload in payloads) == len(entries) - context
    for payload in payloads:
        types = [entry["resource"]["resourceType"] for entry in json.loads(payload.content)["entry"]]
        assert types.count("Patient") == 1


def test_prepare_synthea_history_with_the_patients_identifier_passes() -> None:
    raw = SYNTHEA[0].read_bytes()
    patient = next(
        e["resource"] for e in json.loads(raw)["entry"] if e["resource"]["resourceType"] == "Patient"
    )
    identifier = patient["identifier"][0]
    assert prepare(raw, frozenset({PatientIdentifier(identifier["system"], identifier["value"])}))


def test_prepare_synthea_history_of_another_patient_is_refused_without_naming_anyone() -> None:
    raw = SYNTHEA[0].read_bytes()
    patient = next(
        e["resource"] for e in json.loads(raw)["entry"] if e["resource"]["resourceType"] == "Patient"
    )
    with pytest.raises(PatientMismatchError) as caught:
        prepare(raw, frozenset({PatientIdentifier("https://hospital.example/mrn", "MRN-31337")}))
    message = str(caught.value)
    assert "MRN-31337" not in message
    for name in patient["name"]:
        assert name["family"] not in message
    for identifier in patient["identifier"]:
        assert identifier["value"] not in message


def test_prepare_patient_summary_stays_whole() -> None:
    raw = (SAMPLES / "ips/Bundle-IPS-examples-Bundle-01.json").read_bytes()
    (payload,) = prepare(raw, None)
    assert payload.content == raw
    assert payload.category is Category.PATIENT_SUMMARY
    assert str(payload.period) == "2010-01-01 to 2017-12-11"


def test_prepare_signed_bundle_stays_whole() -> None:
    raw = (SAMPLES / "signature/bundle-signed-good.json").read_bytes()
    (payload,) = prepare(raw, None)
    assert payload.content == raw
    assert (payload.category, payload.period) == (Category.DOCUMENT, UNDATED)


def test_prepare_signed_bundle_without_patient_for_a_registered_one_is_refused() -> None:
    raw = (SAMPLES / "signature/bundle-signed-good.json").read_bytes()
    with pytest.raises(PatientMismatchError, match="expected one Patient in the bundle; came none"):
        prepare(raw, frozenset({PatientIdentifier("urn:example", "1")}))


def test_prepare_personal_health_device_becomes_one_lifelog() -> None:
    raw = (SAMPLES / "lifelog/ieee11073_bundle-example-1.json").read_bytes()
    (payload,) = prepare(raw, None)
    assert payload.category is Category.LIFELOG
    assert str(payload.period) == "2019-09-20"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bad-json-close-1.json", "expected JSON; it is broken at line 15, column 11: "),
        ("Bundle-InvalidEnums.json", "came a byte order mark"),
        ("empty-array.json", "expected a FHIR Bundle; came 'DocumentReference'"),
    ],
)
def test_prepare_malformed_sample_is_refused_in_one_line(name: str, message: str) -> None:
    with pytest.raises(NotFhirError) as caught:
        prepare((SAMPLES / "malformed" / name).read_bytes(), None)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_prepare_invalid_codes_without_the_byte_order_mark_names_the_elements() -> None:
    raw = (SAMPLES / "malformed/Bundle-InvalidEnums.json").read_bytes().removeprefix(b"\xef\xbb\xbf")
    with pytest.raises(InvalidBundleError) as caught:
        prepare(raw, None)
    assert "Bundle.entry[0].resource.gender1: expected an element of FHIR R4" in str(caught.value)
    assert "Chalmers" not in str(caught.value)
