"""FHIR in, validated, split by category and year, described for people.

``prepare`` turns the bytes of a bundle into payloads to seal, ``file_payload`` checks what staff tell of a file that
is published as it is; ``describe`` turns a payload that was read into rows for a table. This room knows nothing of
chain, keys or stores.
"""

from records.describe import DescribedRow, RecordDescription, describe
from records.dicom import patient_ids
from records.errors import (
    InputTooLargeError,
    InvalidBundleError,
    Issue,
    NotFhirError,
    PatientMismatchError,
    RecordsError,
    SchemaUnavailableError,
    UnsuitableFileError,
)
from records.files import HEAD_BYTES, OCTETS, FileKind, FilePayload, check_file_patient, file_payload, kind_of
from records.limits import DEFAULT_LIMITS, InputLimits
from records.payload import FHIR_JSON, PatientIdentifier, RecordPayload
from records.prepare import prepare

__all__ = [
    "DEFAULT_LIMITS",
    "FHIR_JSON",
    "HEAD_BYTES",
    "OCTETS",
    "DescribedRow",
    "FileKind",
    "FilePayload",
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
    "UnsuitableFileError",
    "check_file_patient",
    "describe",
    "file_payload",
    "kind_of",
    "patient_ids",
    "prepare",
]
