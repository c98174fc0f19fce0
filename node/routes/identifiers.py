"""The header by which staff name a patient: a medical record number has no place in a URL, which proxies log."""

from typing import Annotated

from fastapi import Header
from pydantic import ValidationError

from node.errors import InvalidRequest
from records import PatientIdentifier
from wire.staff import PATIENT_IDENTIFIER_HEADER, decode_patient_identifier

_HEADER_BYTES = 4096
_Given = Annotated[
    str | None,
    Header(
        alias=PATIENT_IDENTIFIER_HEADER,
        max_length=_HEADER_BYTES,
        description="system|value of a Patient.identifier, each percent-encoded",
    ),
]


def patient_identifier(given: _Given = None) -> PatientIdentifier:
    """The identifier that the request names.

    Raises:
        InvalidRequest: there is none, or it is malformed; what came is not repeated.
    """
    found = patient_identifier_if_any(given)
    if found is None:
        raise InvalidRequest(
            f"expected the header {PATIENT_IDENTIFIER_HEADER}: system|value, each percent-encoded"
        )
    return found


def patient_identifier_if_any(given: _Given = None) -> PatientIdentifier | None:
    """The identifier that the request names, or None."""
    if given is None:
        return None
    try:
        named = decode_patient_identifier(given)
    except (ValueError, ValidationError):
        raise InvalidRequest(
            f"expected the header {PATIENT_IDENTIFIER_HEADER} as system|value, each percent-encoded"
        ) from None
    return PatientIdentifier(named.system, named.value)
