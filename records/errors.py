"""What can be wrong with records that come in. No message holds a value that could name a person."""

from dataclasses import dataclass


class RecordsError(Exception):
    """Root of every error of this room."""


class InputTooLargeError(RecordsError):
    """The input exceeds a limit of size or depth; nothing of it was read further."""


class NotFhirError(RecordsError):
    """The bytes are not FHIR JSON: not UTF-8, not JSON, or JSON without what makes it a FHIR Bundle."""


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong: where (FHIRPath-like, ``Bundle.entry[3].resource.status``), and what."""

    location: str
    expected: str
    came: str

    def __str__(self) -> str:
        return f"{self.location}: expected {self.expected}; came {self.came}"


class InvalidBundleError(RecordsError):
    """The input is FHIR, but not a valid bundle of records of R4.

    ``issues`` holds the first that were found, ``more_count`` how many there are beyond them.
    """

    def __init__(self, issues: tuple[Issue, ...], more_count: int = 0) -> None:
        self.issues = issues
        self.more_count = more_count
        more = f" (and {more_count} more)" if more_count else ""
        super().__init__("; ".join(map(str, issues)) + more)


class PatientMismatchError(RecordsError):
    """The bundle is not, or not only, about the patient it is published for."""


class UnsuitableFileError(RecordsError):
    """The file, or what is told of it, cannot be a record."""


class SchemaUnavailableError(RecordsError):
    """The FHIR schema that validation needs is not installed."""
