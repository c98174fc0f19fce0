"""FHIR in, validated, split by category and year, described for people.

``prepare`` turns the bytes of a bundle into payloads to seal; ``describe`` turns a payload that was read into
rows for a table. This room knows nothing of chain, keys or stores.
"""

from records.describe import DescribedRow, RecordDescription, describe
from records.errors import (
    InputTooLargeError,
    InvalidBundleError,
    Issue,
    NotFhirError,
    PatientMismatchError,
    RecordsError,
    SchemaUnavailableError,
)
from records.limits import DEFAULT_LIMITS, InputLimits
from records.payload import FHIR_JSON, PatientIdentifier, RecordPayload
from records.prepare import prepare

__all__ = [
    "DEFAULT_LIMITS",
    "FHIR_JSON",
    "DescribedRow",
    "InputLimits",
    "InputTooLargeError",
    "InvalidBundleError",
    "Issue",
    "NotFhirError",
    "PatientIdentifier",
    "PatientMismatchError",
    "RecordDescription",
    "RecordPayload",
    "RecordsError",
    "SchemaUnavailableError",
    "describe",
    "prepare",
]
