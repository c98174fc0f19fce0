"""What a resource is, and what it says, in two cells: for each common type of R4 the elements that a
clinician looks for first."""

from collections.abc import Callable, Iterator

from records.display import (
    Resolve,
    attachment,
    choice,
    concept,
    items,
    joined,
    mapping,
    period,
    quantity,
    reference,
    text,
)
from records.periods import written_day
from records.survey import Json

Summary = tuple[str, str]


def summary_of(resource: Json, resolve: Resolve) -> Summary:
    """What a resource is, and its value, dose, state or outcome. Both may be empty."""
    summarise = _SUMMARIES.get(resource["resourceType"], _other)
    return summarise(resource, resolve)


def flags(resource: Json) -> Iterator[str]:
    """What turns the meaning of a resource round, and must not be overlooked (FHIR's modifier elements)."""
    if resource.get("status") in ("entered-in-error", "not-done", "cancelled", "not-taken"):
        yield text(resource["status"]).replace("-", " ").upper()
    verification = [
        mapping(coding).get("code")
        for coding in items(mapping(resource.get("verificationStatus")).get("coding"))
    ]
    for code in ("entered-in-error", "refuted", "unconfirmed", "provisional", "differential"):
        if code in verification:
            yield code.replace("-", " ").upper()
    if resource.get("doNotPerform") is True:
        yield "DO NOT PERFORM"
    if resource.get("modifierExtension") or resource.get("implicitRules"):
        yield "MODIFIED BY AN EXTENSION"


def _other(resource: Json, _: Resolve) -> Summary:
    what = (concept(resource.get(element)) for element in ("code", "type", "category"))
    words = (text(resource.get(element)) for element in ("title", "name", "description"))
    return next(filter(None, [*what, *words]), ""), text(resource.get("status"))


def _observation(resource: Json, _: Resolve) -> Summary:
    parts = [_measured(resource)]
    for component in map(mapping, items(resource.get("component"))):
        parts.append(joined([concept(component.get("code")), _measured(component)], " "))
    notes = [text(mapping(note).get("text")) for note in items(resource.get("note"))]
    return concept(resource.get("code")), joined([*parts, *notes])


def _measured(owner: Json) -> str:
    """The value of an Observation or component, with its interpretation, or why there is none."""
    value = choice(owner, "value")
    if not value and "dataAbsentReason" in owner:
        value = f"no value ({concept(owner['dataAbsentReason'])})"
    meaning = concept(owner.get("interpretation"))
    return f"{value} [{meaning}]" if meaning else value


def _condition(resource: Json, _: Resolve) -> Summary:
    state = concept(resource.get("clinicalStatus"))
    end = choice(resource, "abatement")
    sites = concept(resource.get("bodySite"))
    return concept(resource.get("code")), joined(
        [state, concept(resource.get("severity")), sites, f"until {written_day(end) or end}" if end else ""]
    )


def _allergy(resource: Json, _: Resolve) -> Summary:
    reactions = [
        joined([concept(part.get("manifestation")), text(part.get("severity"))], ", ")
        for part in map(mapping, items(resource.get("reaction")))
    ]
    criticality = text(resource.get("criticality"))
    risk = f"{criticality} risk" if criticality in ("low", "high") else ""
    return concept(resource.get("code")), joined([concept(resource.get("clinicalStatus")), risk, *reactions])


def _medication(resource: Json, resolve: Resolve) -> Summary:
    what = concept(resource.get("medicationCodeableConcept"))
    what = what or reference(resource.get("medicationReference"), resolve)
    doses = [_dosage(mapping(d)) for d in items(resource.get("dosageInstruction") or resource.get("dosage"))]
    return what, joined([text(resource.get("status")), quantity(resource.get("quantity")), *doses])


def _dosage(dosage: Json) -> str:
    if text(dosage.get("text")):
        return text(dosage["text"])
    rates = [mapping(rate) for rate in items(dosage.get("doseAndRate"))]
    doses = [choice(rate, "dose") for rate in rates] or [quantity(dosage.get("dose"))]
    repeat = mapping(mapping(dosage.get("timing")).get("repeat"))
    often = ""
    if repeat.get("frequency") and repeat.get("period"):
        unit = text(repeat.get("periodUnit"))
        often = f"{text(repeat['frequency'])} times in {text(repeat['period'])} {unit}"
    as_needed = "as needed" if dosage.get("asNeededBoolean") is True else ""
    when = concept(mapping(dosage.get("timing")).get("code"))
    return joined([*doses, often or when, concept(dosage.get("route")), as_needed], ", ")


def _immunization(resource: Json, _: Resolve) -> Summary:
    lot = text(resource.get("lotNumber"))
    doses = [choice(mapping(part), "doseNumber") for part in items(resource.get("protocolApplied"))]
    parts = [
        text(resource.get("status")),
        *(f"dose {dose}" for dose in doses if dose),
        f"lot {lot}" if lot else "",
    ]
    return concept(resource.get("vaccineCode")), joined(parts)


def _procedure(resource: Json, _: Resolve) -> Summary:
    parts = [
        text(resource.get("status")),
        concept(resource.get("bodySite")),
        concept(resource.get("outcome")),
    ]
    return concept(resource.get("code")), joined(parts)


def _report(resource: Json, resolve: Resolve) -> Summary:
    results = [
        joined([what, value], " ")
        for item in items(resource.get("result"))
        for target in [resolve(text(mapping(item).get("reference")))]
        for what, value in [_observation(target, resolve)]
    ]
    files = [attachment(form) for form in items(resource.get("presentedForm"))]
    conclusion = text(resource.get("conclusion")) or concept(resource.get("conclusionCode"))
    count = f"{len(results)} results" if any(results) else ""
    return concept(resource.get("code")), joined([conclusion, count, *files])


def _encounter(resource: Json, resolve: Resolve) -> Summary:
    reasons = [reference(item, resolve) for item in items(resource.get("reasonReference"))]
    provider = reference(resource.get("serviceProvider"), resolve)
    what = concept(resource.get("type")) or concept(resource.get("class"))
    return what, joined(
        [concept(resource.get("reasonCode")), *reasons, provider, text(resource.get("status"))]
    )


def _document(resource: Json, _: Resolve) -> Summary:
    contents = [mapping(part) for part in items(resource.get("content"))]
    files = [attachment(part.get("attachment")) for part in contents]
    what = concept(resource.get("type")) or concept(resource.get("category"))
    return what or text(resource.get("description")), joined([text(resource.get("description")), *files])


def _composition(resource: Json, resolve: Resolve) -> Summary:
    authors = [reference(author, resolve) for author in items(resource.get("author"))]
    return text(resource.get("title")) or concept(resource.get("type")), joined(authors)


def _care_plan(resource: Json, _: Resolve) -> Summary:
    details = [mapping(mapping(part).get("detail")) for part in items(resource.get("activity"))]
    what = text(resource.get("title")) or concept(resource.get("category"))
    activities = [concept(detail.get("code")) or text(detail.get("description")) for detail in details]
    return what, joined([text(resource.get("status")), text(resource.get("description")), *activities])


def _goal(resource: Json, _: Resolve) -> Summary:
    state = [text(resource.get("lifecycleStatus")), concept(resource.get("achievementStatus"))]
    return concept(resource.get("description")), joined(state)


def _family(resource: Json, _: Resolve) -> Summary:
    conditions = [concept(mapping(part).get("code")) for part in items(resource.get("condition"))]
    return concept(resource.get("relationship")), joined([text(resource.get("name")), *conditions])


def _imaging(resource: Json, _: Resolve) -> Summary:
    series = [mapping(part) for part in items(resource.get("series"))]
    what = text(resource.get("description")) or concept(resource.get("procedureCode"))
    kinds = [concept(part.get("modality")) for part in series]
    sites = [concept(part.get("bodySite")) for part in series]
    images = text(resource.get("numberOfInstances"))
    count = f"{images} images" if images else ""
    return what or joined(kinds), joined([*kinds, *sites, count])


def _claim(resource: Json, resolve: Resolve) -> Summary:
    items_shown = [concept(mapping(item).get("productOrService")) for item in items(resource.get("item"))]
    totals = (
        [resource.get("total")]
        if isinstance(resource.get("total"), dict)
        else [mapping(part).get("amount") for part in items(resource.get("total"))]
    )
    what = joined([concept(resource.get("type")), *items_shown[:3]], ": " if len(items_shown) == 1 else "; ")
    payer = reference(resource.get("insurer"), resolve)
    return what, joined([*(quantity(total) for total in totals), payer])


def _coverage(resource: Json, resolve: Resolve) -> Summary:
    payers = [reference(payer, resolve) for payer in items(resource.get("payor"))]
    held = period(resource.get("period"))
    return concept(resource.get("type")) or joined(payers), joined(
        [text(resource.get("status")), *payers, held]
    )


def _device(resource: Json, _: Resolve) -> Summary:
    names = [text(mapping(part).get("name")) for part in items(resource.get("deviceName"))]
    what = concept(resource.get("type")) or joined(names)
    maker = joined([text(resource.get("manufacturer")), text(resource.get("modelNumber"))], " ")
    return what or maker, joined([text(resource.get("status")), maker])


def _questionnaire(resource: Json, _: Resolve) -> Summary:
    answers: list[str] = []
    pending = [mapping(item) for item in reversed(items(resource.get("item")))]
    while pending:
        item = pending.pop()
        given = [mapping(answer) for answer in items(item.get("answer"))]
        shown = joined([choice(answer, "value") for answer in given], ", ")
        if shown:
            answers.append(joined([text(item.get("text")) or text(item.get("linkId")), shown], ": "))
        children = [*items(item.get("item")), *(child for a in given for child in items(a.get("item")))]
        pending.extend(mapping(child) for child in reversed(children))
    return text(resource.get("questionnaire")).rpartition("/")[2] or "Questionnaire", joined(answers)


def _substance(resource: Json, _: Resolve) -> Summary:
    return concept(resource.get("code")), concept(resource.get("form"))


_SUMMARIES: dict[str, Callable[[Json, Resolve], Summary]] = {
    "AllergyIntolerance": _allergy,
    "CarePlan": _care_plan,
    "Claim": _claim,
    "Composition": _composition,
    "Condition": _condition,
    "Coverage": _coverage,
    "Device": _device,
    "DiagnosticReport": _report,
    "DocumentReference": _document,
    "Encounter": _encounter,
    "ExplanationOfBenefit": _claim,
    "FamilyMemberHistory": _family,
    "Goal": _goal,
    "ImagingStudy": _imaging,
    "Immunization": _immunization,
    "Medication": _substance,
    "MedicationAdministration": _medication,
    "MedicationDispense": _medication,
    "MedicationRequest": _medication,
    "MedicationStatement": _medication,
    "Observation": _observation,
    "Procedure": _procedure,
    "QuestionnaireResponse": _questionnaire,
}
