"""Payloads in words, safe to print."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from records import DescribedRow, NotFhirError, describe
from records.plain_text import plain

Build = Callable[..., bytes]
Resource = dict[str, Any]
SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples"


def row(bundle_of: Build, **resource: Any) -> DescribedRow:
    (only,) = describe(bundle_of(resource)).rows
    return only


def test_describe_laboratory_result_shows_day_kind_name_and_value_with_unit(
    bundle_of: Build, observation: Resource
) -> None:
    described = describe(bundle_of(observation))
    assert described.patient == "Ada Lovelace"
    assert described.rows == (
        DescribedRow("2019-03-02", "Laboratory", "Observation", "Hemoglobin A1c", "5.4 %", ""),
    )


@pytest.mark.parametrize(
    "written", ["1.10", "100", "0.50", "-0", "1e-7", "6.0221409e+23", "12345678901234567890"]
)
def test_describe_decimal_keeps_the_digits_that_were_written(
    bundle_of: Build, observation: Resource, written: str
) -> None:
    raw = bundle_of(observation).replace(b"5.4", written.encode())
    assert describe(raw).rows[0].value == f"{written} %"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"valueQuantity": {"comparator": "<", "value": 0.1, "unit": "mg/dL"}}, "< 0.1 mg/dL"),
        ({"valueQuantity": {"value": 5, "code": "mmol/L"}}, "5 mmol/L"),
        ({"valueCodeableConcept": {"coding": [{"code": "A", "display": "Group A"}]}}, "Group A"),
        ({"valueString": "turbid"}, "turbid"),
        ({"valueBoolean": False}, "no"),
        ({"valueInteger": 0}, "0"),
        ({"valueRange": {"low": {"value": 1}, "high": {"value": 2, "unit": "g"}}}, "1 to 2 g"),
        ({"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 128}}}, "1 : 128"),
        ({"valuePeriod": {"start": "2019-01-01", "end": "2019-01-02"}}, "2019-01-01 to 2019-01-02"),
        ({"dataAbsentReason": {"text": "not performed"}}, "no value (not performed)"),
        (
            {"valueString": "9", "interpretation": [{"coding": [{"code": "H", "display": "High"}]}]},
            "9 [High]",
        ),
        (
            {
                "component": [
                    {"code": {"text": "Systolic"}, "valueQuantity": {"value": 120, "unit": "mmHg"}},
                    {"code": {"text": "Diastolic"}, "valueQuantity": {"value": 80, "unit": "mmHg"}},
                ]
            },
            "Systolic 120 mmHg; Diastolic 80 mmHg",
        ),
    ],
)
def test_describe_each_kind_of_value(bundle_of: Build, value: Resource, shown: str) -> None:
    assert row(bundle_of, resourceType="Observation", code={"text": "x"}, **value).value == shown


@pytest.mark.parametrize(
    ("resource", "text", "value", "warning"),
    [
        (
            {"resourceType": "Observation", "status": "entered-in-error", "code": {"text": "x"}},
            "x",
            "",
            "ENTERED IN ERROR",
        ),
        (
            {"resourceType": "Immunization", "status": "not-done", "vaccineCode": {"text": "MMR"}},
            "MMR",
            "not-done",
            "NOT DONE",
        ),
        (
            {
                "resourceType": "AllergyIntolerance",
                "code": {"text": "Penicillin"},
                "criticality": "high",
                "verificationStatus": {"coding": [{"code": "refuted"}]},
                "reaction": [{"manifestation": [{"text": "hives"}], "severity": "severe"}],
            },
            "Penicillin",
            "high risk; hives, severe",
            "REFUTED",
        ),
        (
            {
                "resourceType": "MedicationRequest",
                "status": "active",
                "doNotPerform": True,
                "medicationCodeableConcept": {"text": "Ibuprofen"},
            },
            "Ibuprofen",
            "active",
            "DO NOT PERFORM",
        ),
        (
            {
                "resourceType": "MedicationRequest",
                "status": "active",
                "medicationReference": {"reference": "#m"},
                "contained": [{"resourceType": "Medication", "id": "m", "code": {"text": "Insulin"}}],
                "dosageInstruction": [
                    {
                        "timing": {"repeat": {"frequency": 2, "period": 1, "periodUnit": "d"}},
                        "doseAndRate": [{"doseQuantity": {"value": 10, "unit": "IU"}}],
                    }
                ],
            },
            "Insulin",
            "active; 10 IU, 2 times in 1 d",
            "",
        ),
        (
            {
                "resourceType": "Condition",
                "code": {"text": "Flu"},
                "abatementDateTime": "2019-01-09T10:00:00Z",
            },
            "Flu",
            "until 2019-01-09",
            "",
        ),
        (
            {
                "resourceType": "QuestionnaireResponse",
                "questionnaire": "https://x.example/Questionnaire/sleep",
                "item": [{"text": "Hours", "answer": [{"valueDecimal": 7.50}]}],
            },
            "sleep",
            "Hours: 7.5",
            "",
        ),
        ({"resourceType": "FamilyMemberHistory", "relationship": {"text": "mother"}}, "mother", "", ""),
        (
            {
                "resourceType": "Claim",
                "type": {"text": "pharmacy"},
                "total": {"value": 12.30, "currency": "KRW"},
            },
            "pharmacy",
            "12.3 KRW",
            "",
        ),
        (
            {"resourceType": "Basic", "modifierExtension": [{"url": "urn:x"}]},
            "Basic",
            "",
            "MODIFIED BY AN EXTENSION",
        ),
    ],
)
def test_describe_each_type_shows_what_matters(
    bundle_of: Build, resource: Resource, text: str, value: str, warning: str
) -> None:
    shown = row(bundle_of, **resource)
    assert (shown.text, shown.value, shown.warning) == (text, value, warning)


def test_describe_orders_by_day_with_undated_last(bundle_of: Build, observation: Resource) -> None:
    days = ["2020-01-01", "2019", "", "2019-03", "1969-07-20"]
    results = [
        {**observation, "id": f"o{number}", "effectiveDateTime": day} for number, day in enumerate(days)
    ]
    assert [r.date for r in describe(bundle_of(*results)).rows] == [
        "1969-07-20",
        "2019",
        "2019-03",
        "2020-01-01",
        "",
    ]


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2J\x1b[31mNormal\x07", "[2J [31mNormal"),
        ("\x9b31mNormal", "31mNormal"),
        ("\x1b]0;title\x07\x1b]8;;http://evil\x1b\\x", "]0;title ]8;;http://evil \\x"),
        ("5\r6\n7\t8\x0b9\u2028", "5 6 7 8 9"),
        ("abc\u202egnp", "abc gnp"),
        ("\u2066x\u2069\ufeff\u00ad", "x"),
        ("\ue000\U000e0041", ""),
        ("\ud83d", ""),
        ("혈당  \u3000정상", "혈당 정상"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("x" * 400, "x" * 299 + "…"),
    ],
)
def test_attack_terminal_control_in_text_is_taken_out(hostile: str, shown: str) -> None:
    assert plain(hostile) == shown


def test_attack_terminal_control_reaches_no_cell(bundle_of: Build, patient: Resource) -> None:
    escape = "\x1b[31m"
    patient["name"][0]["family"] = escape
    raw = bundle_of(
        {
            "resourceType": "Observation",
            "status": "entered-in-error",
            "code": {"text": f"a{escape}"},
            "valueString": f"b{escape}",
            "effectivePeriod": {"start": f"2019-01-01T{escape}"},
            "category": [{"text": escape}],
        },
        {"resourceType": escape, "code": {"text": "x"}},
        {"resourceType": "Composition", "title": escape},
    )
    described = describe(raw)
    cells = [
        described.title,
        described.patient,
        *(c for r in described.rows for c in (r.date, r.kind, r.resource_type, r.text, r.value, r.warning)),
    ]
    assert not any("\x1b" in cell for cell in cells)


@pytest.mark.parametrize("raw", [b"[]", b"{}", b'{"resourceType":"Patient"}', b"not json", b""])
def test_describe_other_content_is_refused(raw: bytes) -> None:
    with pytest.raises(NotFhirError):
        describe(raw)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="../shared/samples is not there")
def test_describe_patient_summary_tells_every_clinical_resource() -> None:
    described = describe((SAMPLES / "ips/Bundle-IPS-examples-Bundle-01.json").read_bytes())
    assert described.patient == "Martha DeLarosa, female, 1972-05-01"
    assert (
        "2015-03",
        "Product containing anastrozole (medicinal product)",
        "active; 1 tablet, Oral use",
    ) in [(r.date, r.text, r.value) for r in described.rows]
    assert not any(r.text.startswith("{") or r.text == "" for r in described.rows)
    assert json.loads(json.dumps(described.title)) == described.title
