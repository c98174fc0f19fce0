"""The category of a resource, from its type, its own category codes, and a few code systems. See ADR 0041."""

from records.survey import Json
from vocabulary import Category

LOINC = "http://loinc.org"
_MDC = "urn:iso:std:iso:11073:10101"
"""IEEE 11073: a personal health device measured it (FHIR PHD), whatever it measured."""
_DENTAL_SYSTEMS = frozenset(
    {
        "http://www.ada.org/cdt",
        "http://www.ada.org/snodent",
        "urn:oid:2.16.840.1.113883.6.13",
        "urn:oid:2.16.840.1.113883.3.3150",
        "http://terminology.hl7.org/CodeSystem/ex-tooth",
        "urn:iso:std:iso:3950",
    }
)
"""CDT, SNODENT, and tooth numbering (FDI / ISO 3950)."""

_TYPES: dict[Category, tuple[str, ...]] = {
    Category.PATIENT_SUMMARY: (
        "Patient",
        "Person",
        "Practitioner",
        "PractitionerRole",
        "Organization",
        "OrganizationAffiliation",
        "Location",
        "HealthcareService",
        "Endpoint",
        "RelatedPerson",
    ),
    Category.ENCOUNTER: (
        "Encounter",
        "EpisodeOfCare",
        "Appointment",
        "AppointmentResponse",
        "Schedule",
        "Slot",
    ),
    Category.CONDITION: (
        "Condition",
        "ClinicalImpression",
        "DetectedIssue",
        "AdverseEvent",
        "RiskAssessment",
        "Flag",
    ),
    Category.ALLERGY: ("AllergyIntolerance",),
    Category.MEDICATION: (
        "Medication",
        "MedicationAdministration",
        "MedicationDispense",
        "MedicationKnowledge",
        "MedicationRequest",
        "MedicationStatement",
        "Substance",
    ),
    Category.IMMUNIZATION: ("Immunization", "ImmunizationEvaluation", "ImmunizationRecommendation"),
    Category.LABORATORY: ("Specimen", "DiagnosticReport", "Observation", "BiologicallyDerivedProduct"),
    Category.IMAGING: ("ImagingStudy", "Media"),
    Category.PROCEDURE: ("Procedure", "BodyStructure", "VisionPrescription"),
    Category.CARE_PLAN: (
        "CarePlan",
        "CareTeam",
        "Goal",
        "ServiceRequest",
        "RequestGroup",
        "NutritionOrder",
        "Task",
        "Communication",
        "CommunicationRequest",
    ),
    Category.FAMILY_HISTORY: ("FamilyMemberHistory",),
    Category.HEALTH_CHECKUP: ("QuestionnaireResponse",),
    Category.GENOMICS: ("MolecularSequence",),
    Category.COVERAGE_AND_CLAIMS: (
        "Account",
        "ChargeItem",
        "Claim",
        "ClaimResponse",
        "Contract",
        "Coverage",
        "CoverageEligibilityRequest",
        "CoverageEligibilityResponse",
        "EnrollmentRequest",
        "EnrollmentResponse",
        "ExplanationOfBenefit",
        "Invoice",
        "PaymentNotice",
        "PaymentReconciliation",
    ),
    Category.DEVICE: (
        "Device",
        "DeviceDefinition",
        "DeviceMetric",
        "DeviceRequest",
        "DeviceUseStatement",
        "SupplyDelivery",
        "SupplyRequest",
    ),
}
_TYPES_BY_CODE = frozenset(
    {"Observation", "DiagnosticReport", "Procedure", "Condition", "ServiceRequest", "Media"}
)
"""Types whose code or body site may tell another category than their type does."""
_CATEGORY_OF_TYPE = {name: category for category, names in _TYPES.items() for name in names}

_OBSERVATION = {
    "vital-signs": Category.VITAL_SIGNS,
    "laboratory": Category.LABORATORY,
    "imaging": Category.IMAGING,
    "procedure": Category.PROCEDURE,
    "therapy": Category.PROCEDURE,
    "exam": Category.ENCOUNTER,
    "survey": Category.HEALTH_CHECKUP,
    "social-history": Category.HEALTH_CHECKUP,
    "activity": Category.LIFELOG,
    "GE": Category.GENOMICS,
}
"""Codes of HL7 observation-category, and of v2-0074 as genomics reporting uses it."""
_REPORT = {
    **dict.fromkeys(
        ("RAD", "RX", "CT", "NMR", "NMS", "RUS", "OUS", "CUS", "VUS", "XRC", "LP29684-5"), Category.IMAGING
    ),
    **dict.fromkeys(("GE",), Category.GENOMICS),
    **dict.fromkeys(
        ("LAB", "CH", "HM", "MB", "MCB", "IMM", "SP", "LP7839-6", "LP29693-6"), Category.LABORATORY
    ),
    **dict.fromkeys(("LP29708-2", "EC", "PF", "CTH"), Category.PROCEDURE),
}
"""Codes of HL7 v2-0074 (diagnostic service sections) and LOINC parts for DiagnosticReport.category."""
_LOINC = {
    **dict.fromkeys(
        (
            "85353-1",
            "9279-1",
            "8867-4",
            "2708-6",
            "59408-5",
            "8310-5",
            "8302-2",
            "9843-4",
            "29463-7",
            "39156-5",
            "85354-9",
            "8480-6",
            "8462-4",
            "8478-0",
        ),
        Category.VITAL_SIGNS,
    ),
    **dict.fromkeys(
        ("44249-1", "44261-6", "55757-9", "55758-7", "69737-5", "70274-6"), Category.MENTAL_HEALTH
    ),
    **dict.fromkeys(
        ("72109-2", "75624-7", "75626-2", "72110-0", "82665-1", "82666-9", "82667-7"), Category.SUBSTANCE_USE
    ),
    **dict.fromkeys(
        ("82810-3", "11636-8", "11640-0", "11778-8", "11779-6", "11996-6"), Category.REPRODUCTIVE_HEALTH
    ),
    **dict.fromkeys(
        ("81247-9", "51969-4", "69548-6", "55233-1", "48004-6", "48005-3", "48018-6", "53037-8", "81252-9"),
        Category.GENOMICS,
    ),
}
"""LOINC codes of FHIR's vital signs profile, PHQ-2/-9 and GAD-7, AUDIT(-C) and DAST-10, pregnancy (IPS), and
variant reporting: their topic is certain, whatever the category code says."""


def category_of(resource: Json) -> Category:
    """The category of a resource that no sensitivity label has moved; DOCUMENT for what has no other."""
    resource_type = resource["resourceType"]
    if resource_type in _TYPES_BY_CODE:
        codings = _codings(resource, "code")
        if resource_type == "Observation" and _MDC in {system for system, _ in codings}:
            return Category.LIFELOG
        for system, code in codings + _codings(resource, "bodySite"):
            if system in _DENTAL_SYSTEMS:
                return Category.DENTAL
            if system == LOINC and code in _LOINC:
                return _LOINC[code]
    match resource_type:
        case "Observation":
            return _observation(resource)
        case "DiagnosticReport":
            return _report(resource)
    return _CATEGORY_OF_TYPE.get(resource_type, Category.DOCUMENT)


def _observation(resource: Json) -> Category:
    for _, code in _codings(resource, "category"):
        if code in _OBSERVATION:
            return _OBSERVATION[code]
    return Category.LABORATORY


def _report(resource: Json) -> Category:
    codings = _codings(resource, "category")
    for _, code in codings:
        if code in _REPORT:
            return _REPORT[code]
    if any(system == LOINC for system, _ in codings):
        return Category.DOCUMENT
    return Category.LABORATORY


def _codings(resource: Json, element: str) -> list[tuple[str, str]]:
    """System and code of each Coding of a CodeableConcept element, single or repeated.

    What has another shape is passed over: descriptions are made of resources that nobody validated, too.
    """
    if element not in resource:
        return []
    value = resource[element]
    found = []
    for concept in value if isinstance(value, list) else [value]:
        codings = concept.get("coding") if isinstance(concept, dict) else None
        for coding in codings if isinstance(codings, list) else []:
            if isinstance(coding, dict):
                system, code = coding.get("system"), coding.get("code")
                found.append(
                    (system if isinstance(system, str) else "", code if isinstance(code, str) else "")
                )
    return found
