"""Is everything in the bundle about one patient, and the right one?

A bundle that mixes two people is the worst error of this trade: nothing of it may be published. Messages
name places, never the value of an identifier or reference.
"""

from collections.abc import Iterator, Sequence
from urllib.parse import parse_qs

from records.errors import Issue, PatientMismatchError
from records.payload import PatientIdentifier
from records.reading import SourceEntry
from records.references import References, named_type
from records.survey import PATIENT_ELEMENTS, Json, Reference, Survey
from records.wording import fhir_path

_OTHER_PERSON_ELEMENTS = frozenset({"subscriber", "policyHolder", "payor", "other"})
"""Elements that may name another Patient: who holds the insurance, and another record of the same person."""
_ANOTHER = "another patient, or one that this bundle does not hold"


def check_patient(
    entries: Sequence[SourceEntry],
    surveys: Sequence[Survey],
    references: References,
    identifiers: frozenset[PatientIdentifier] | None,
) -> int | None:
    """Refuse a bundle that is not about one patient, known by ``identifiers``; give the Patient's entry.

    With ``identifiers`` the bundle must hold exactly one Patient, who carries one of them, and who has no other
    value only under the system of a given one. With None, no identity is asked for, and a bundle without any
    Patient passes: the result is None then.

    Raises:
        PatientMismatchError: no Patient, several, another's identifiers, or a reference to another patient.
    """
    found = [index for index, entry in enumerate(entries) if entry.resource["resourceType"] == "Patient"]
    if len(found) > 1:
        places = ", ".join(f"Bundle.entry[{index}]" for index in found[:5])
        raise PatientMismatchError(f"expected one Patient in the bundle; came {len(found)}: {places}")
    if not found:
        if identifiers is None:
            return None
        raise PatientMismatchError("expected one Patient in the bundle; came none")
    index = found[0]
    own = patient_identifiers(entries[index].resource)
    if identifiers is not None:
        _check_identity(own, identifiers, f"Bundle.entry[{index}].resource.identifier")
    context = _Context(entries, references, index, own)
    issues = [issue for number, survey in enumerate(surveys) for issue in context.mismatches(number, survey)]
    if issues:
        more = f" (and {len(issues) - 1} more)" if len(issues) > 1 else ""
        raise PatientMismatchError(f"{issues[0]}{more}")
    return index


def patient_identifiers(patient: Json) -> frozenset[PatientIdentifier]:
    """The identifiers of a Patient resource; one without system has the empty system."""
    return frozenset(
        PatientIdentifier(identifier.get("system", ""), identifier["value"])
        for identifier in patient.get("identifier", [])
        if identifier.get("value")
    )


def _check_identity(
    own: frozenset[PatientIdentifier], expected: frozenset[PatientIdentifier], place: str
) -> None:
    if not own & expected:
        raise PatientMismatchError(
            f"{place}: expected an identifier of the registered patient; came {len(own)} others: "
            "this is the bundle of another person, or the patient is registered under another identifier"
        )
    for system in {identifier.system for identifier in expected} & {identifier.system for identifier in own}:
        same_system = {identifier for identifier in own | expected if identifier.system == system}
        if not same_system & own & expected:
            raise PatientMismatchError(
                f"{place}: expected the registered patient's value under each system; one system has "
                "another value: two people may be mixed up"
            )


class _Context:
    """The patient of a bundle, and how to tell whether a reference means them."""

    def __init__(
        self,
        entries: Sequence[SourceEntry],
        references: References,
        index: int,
        identifiers: frozenset[PatientIdentifier],
    ) -> None:
        self.entries = entries
        self.references = references
        self.index = index
        self.identifiers = identifiers

    def mismatches(self, number: int, survey: Survey) -> Iterator[Issue]:
        """The references and contained Patients of entry ``number`` that are not this patient."""
        root = f"Bundle.entry[{number}].resource"
        contained = {}
        for path, resource in survey.contained:
            contained[f"#{resource.get('id', '')}"] = resource["resourceType"]
            if resource["resourceType"] == "Patient" and not patient_identifiers(resource) & self.identifiers:
                expected = "a contained Patient with an identifier of the bundle's Patient"
                yield Issue(fhir_path(root, path), expected, "another or an unidentified one")
        for reference in survey.references:
            came = self._fault(number, reference, contained)
            if came:
                yield Issue(fhir_path(root, reference.path), "a reference to the bundle's Patient", came)

    def _fault(self, number: int, reference: Reference, contained: dict[str, str]) -> str | None:
        """What is wrong with a reference, in words; None when it may stand."""
        says_whose = reference.element in PATIENT_ELEMENTS
        target = reference.target
        if target is None:
            return self._logical_fault(reference.value) if says_whose else None
        if target.startswith("#"):
            return _ANOTHER if says_whose and contained.get(target) in (None, "Group") else None
        if target.startswith("Patient?"):
            return None if self._names_by_query(target) else _ANOTHER
        found = self.references.resolve(target, number)
        if found == self.index:
            return None
        found_type = self.entries[found].resource["resourceType"] if found is not None else named_type(target)
        if found_type == "Patient":
            return None if reference.element in _OTHER_PERSON_ELEMENTS else _ANOTHER
        if says_whose and found_type is None:
            return _ANOTHER
        return "a group of people" if says_whose and found_type == "Group" else None

    def _logical_fault(self, value: Json) -> str | None:
        """A subject without literal reference must be identified (or say that it is no patient)."""
        if value.get("type", "Patient") not in ("Patient", "Group"):
            return None
        identifier = value.get("identifier")
        if not isinstance(identifier, dict) or not identifier.get("value"):
            return "neither reference nor identifier"
        named = PatientIdentifier(identifier.get("system", ""), identifier["value"])
        return None if named in self.identifiers else _ANOTHER

    def _names_by_query(self, target: str) -> bool:
        """Whether a conditional reference (``Patient?identifier=system|value``) names this patient."""
        query = parse_qs(target.partition("?")[2])
        values = query.pop("identifier", [])
        if query or len(values) != 1:
            return False
        system, _, value = values[0].rpartition("|")
        return any(own.value == value and own.system == system for own in self.identifiers)
