"""Freshly generated patients for the demonstration: Synthea's R4 bundles, each split between two hospitals.

Synthea writes one bundle a person. People see more than one hospital, so everything up to a day in the middle of the
history goes to the first one, the rest to the second; who treated and where goes to both.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIN_BYTES, MAX_BYTES = 2_000_000, 6_000_000
CONTEXT_TYPES = {"Patient", "Practitioner", "PractitionerRole", "Organization", "Location", "Coverage"}
_DATE_FIELDS = (
    "effectiveDateTime",
    "effectivePeriod",
    "performedPeriod",
    "performedDateTime",
    "occurrenceDateTime",
    "onsetDateTime",
    "authoredOn",
    "period",
    "started",
    "billablePeriod",
    "created",
    "date",
    "recordedDate",
    "issued",
)


@dataclass(frozen=True)
class DemoPatient:
    """A person with a bundle at each of two hospitals."""

    name: str
    identifier: str
    """FHIR token ``system|value`` of the medical record number."""
    bundles: tuple[Path, Path]


def generate(synthea: Path, directory: Path, people: int, seed: int) -> list[DemoPatient]:
    """Generate ``people`` adults into ``directory`` and split each one's bundle, so that each half is 1 to 3 MB."""
    raw = directory / "synthea"
    command = [str(synthea), "-p", str(people + 3), "-s", str(seed), "--clinician-seed", "7", "-a", "35-60"]
    subprocess.run([*command, "-r", "20261101", "-o", str(raw)], check=True, capture_output=True)
    found = sorted((raw / "fhir").glob("*.json"), key=lambda path: path.stat().st_size)
    patients = [path for path in found if _patient_of(json.loads(path.read_bytes()))]
    wanted = [path for path in patients if MIN_BYTES <= path.stat().st_size <= MAX_BYTES] or patients[
        -people:
    ]
    return [_split(path, directory) for path in wanted[:people]]


def _patient_of(bundle: dict[str, Any]) -> dict[str, Any] | None:
    resources = (entry["resource"] for entry in bundle.get("entry", ()))
    return next((resource for resource in resources if resource["resourceType"] == "Patient"), None)


def _split(path: Path, directory: Path) -> DemoPatient:
    bundle = json.loads(path.read_bytes())
    patient = _patient_of(bundle)
    assert patient is not None
    dated = [(_day(entry["resource"]), entry) for entry in bundle["entry"]]
    weights = sorted((day, len(json.dumps(entry))) for day, entry in dated if day)
    half, reached, cut = sum(weight for _day_, weight in weights) / 2, 0, ""
    for day, weight in weights:
        reached += weight
        if reached >= half:
            cut = day
            break
    halves: tuple[list[Any], list[Any]] = ([], [])
    for day, entry in dated:
        if entry["resource"]["resourceType"] in CONTEXT_TYPES:
            halves[0].append(entry)
            halves[1].append(entry)
        else:
            halves[0 if day <= cut else 1].append(entry)
    paths = tuple(directory / f"{path.stem}-{number}.json" for number in (1, 2))
    for target, entries in zip(paths, halves, strict=True):
        target.write_text(json.dumps({**bundle, "entry": entries}, indent=1))
    official = next(name for name in patient["name"] if name.get("use") == "official")
    number = next(
        i for i in patient["identifier"] if i.get("type", {}).get("coding", [{}])[0].get("code") == "MR"
    )
    name = " ".join([*official["given"], official["family"]])
    return DemoPatient(name, f"{number['system']}|{number['value']}", (paths[0], paths[1]))


def _day(resource: dict[str, Any]) -> str:
    """The day of a resource as text, as written; empty when it has none."""
    for field in _DATE_FIELDS:
        value = resource.get(field)
        if isinstance(value, dict):
            value = value.get("start")
        if isinstance(value, str):
            return value[:10]
    return ""
