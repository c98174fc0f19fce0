"""What this room hands over: payloads to seal, and the identifiers that a patient is known by."""

from dataclasses import dataclass, field

from vocabulary import Category, DayPeriod

FHIR_JSON = "application/fhir+json"
"""Media type of FHIR in JSON (FHIR R4, 2.6.0)."""


@dataclass(frozen=True, slots=True, order=True)
class PatientIdentifier:
    """A business identifier of a patient: ``Patient.identifier.system`` (a URI) and ``.value``, exactly."""

    system: str
    value: str = field(repr=False)

    def __post_init__(self) -> None:
        if not self.value:
            raise ValueError("expected an identifier with a value; came an empty value")


@dataclass(frozen=True, slots=True)
class RecordPayload:
    """One record to be published: of one category, readable alone.

    ``content`` is FHIR JSON. ``period`` is the clinical period, both days inclusive; for a sensitive category
    it is widened to calendar years. ``resource_count`` counts the resources whose home this payload is;
    resources repeated as context (the patient, practitioners, organizations) are not counted.
    """

    category: Category
    media_type: str
    content: bytes = field(repr=False)
    period: DayPeriod
    resource_count: int
