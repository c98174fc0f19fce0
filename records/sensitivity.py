"""Labels that move a resource into a sensitive category, and how far they reach.

A label is a Coding of v3-ActCode, value set InformationSensitivityPolicy, in ``meta.security`` (of the
resource or of what is contained) or in an inline security label (FHIR DS4P). See ADR 0042.
"""

from collections.abc import Iterable, Sequence

from records.reading import SourceBundle
from records.references import References
from records.survey import Json, Survey
from vocabulary import Category

_ACT_CODE_SYSTEMS = frozenset(
    {
        "http://terminology.hl7.org/CodeSystem/v3-ActCode",
        "http://hl7.org/fhir/v3/ActCode",
        "urn:oid:2.16.840.1.113883.5.4",
    }
)
_CATEGORY_OF_LABEL = {
    **dict.fromkeys(("ETH", "ETHUD", "OPIOIDUD", "SUD"), Category.SUBSTANCE_USE),
    **dict.fromkeys(("HIV", "STD", "SEX", "PREGNANT"), Category.REPRODUCTIVE_HEALTH),
    **dict.fromkeys(
        ("PSY", "PSYTHPN", "BH", "COGN", "DVD", "EMOTDIS", "MH", "SDV", "MST", "VIO"), Category.MENTAL_HEALTH
    ),
    **dict.fromkeys(("GDIS", "SICKLE"), Category.GENOMICS),
}
_PRECEDENCE = (
    Category.SUBSTANCE_USE,
    Category.REPRODUCTIVE_HEALTH,
    Category.MENTAL_HEALTH,
    Category.GENOMICS,
)
"""Which category wins when labels name several: the one that law protects most strictly first."""
_CIRCUMSTANCE_TYPES = frozenset(
    {
        "Patient",
        "Encounter",
        "EpisodeOfCare",
        "Practitioner",
        "PractitionerRole",
        "Organization",
        "Location",
        "HealthcareService",
        "Endpoint",
        "RelatedPerson",
        "CareTeam",
    }
)
"""Who, where and on which occasion: referring to one of these does not restate what it is about."""
_PART_ELEMENTS = frozenset({"result", "hasMember", "imagingStudy", "link", "specimen"})
"""Elements that point to a part of the resource: the part takes the label of the whole."""


def strictest(categories: Iterable[Category]) -> Category | None:
    """The one sensitive category of several, or None of none."""
    return min(categories, key=_PRECEDENCE.index, default=None)


def labelled(labels: Iterable[Json]) -> Category | None:
    """The sensitive category that security labels ask for, if any."""
    return strictest(
        _CATEGORY_OF_LABEL[label["code"]]
        for label in labels
        if label.get("system") in _ACT_CODE_SYSTEMS and label.get("code") in _CATEGORY_OF_LABEL
    )


def sensitive_categories(
    bundle: SourceBundle,
    surveys: Sequence[Survey],
    references: References,
    inherent: Sequence[Category | None],
) -> list[Category | None]:
    """The sensitive category of each entry, or None, after labels have travelled along references.

    A resource that refers to a labelled one (a Claim to its diagnosis) takes its label, unless the reference
    tells only who, where or on which occasion; parts of a labelled resource (a report's results, a
    document's Binary) take it too. Labels of the Patient, and labels of the Bundle that no entry carries, hold
    for every entry. ``inherent`` are sensitive categories known from types and codes.
    """
    own = [labelled(survey.labels) if survey.labels else None for survey in surveys]
    everywhere = [
        own[index]
        for index, entry in enumerate(bundle.entries)
        if entry.resource["resourceType"] == "Patient"
    ]
    of_bundle = labelled(bundle.value.get("meta", {}).get("security", []))
    if of_bundle not in own:
        everywhere.append(of_bundle)
    current = [
        strictest(category for category in (label, code, *everywhere) if category is not None)
        for label, code in zip(own, inherent, strict=True)
    ]
    reach = _reach(bundle, surveys, references)
    pending = [index for index, category in enumerate(current) if category is not None]
    while pending:
        index = pending.pop()
        for other in reach[index]:
            category = strictest(c for c in (current[index], current[other]) if c is not None)
            if category != current[other]:
                current[other] = category
                pending.append(other)
    return current


def _reach(bundle: SourceBundle, surveys: Sequence[Survey], references: References) -> list[set[int]]:
    """For each entry, the entries that take its label."""
    reach: list[set[int]] = [set() for _ in surveys]
    for index, survey in enumerate(surveys):
        for reference in survey.references + survey.attachments:
            if reference.target is None:
                continue
            target = references.resolve(reference.target, index)
            if target is None or target == index:
                continue
            target_type = bundle.entries[target].resource["resourceType"]
            if target_type not in _CIRCUMSTANCE_TYPES:
                reach[target].add(index)
                if reference.element in _PART_ELEMENTS or target_type == "Binary":
                    reach[index].add(target)
    return reach
