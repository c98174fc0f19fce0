"""Files that are published as they are: images, genomes, scanned documents. Of any size: only their start is read here.

A bundle tells its category, its days and its patient; of a file, staff tell them, and what it tells itself must agree.
"""

import re
import zlib
from dataclasses import dataclass

from records.dicom import is_dicom, patient_ids
from records.errors import PatientMismatchError, UnsuitableFileError
from records.payload import FHIR_JSON, PatientIdentifier
from records.periods import shown_period
from vocabulary import Category, DayPeriod

HEAD_BYTES = 2**20
"""How much of a file's start is looked at."""
DICOM = "application/dicom"
OCTETS = "application/octet-stream"
_MEDIA_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}")
_GZIP = b"\x1f\x8b"
_UNPACKED_BYTES = 64 * 1024
_STARTS = (
    (b"%PDF-", "application/pdf", None),
    (b"\x89PNG\r\n\x1a\n", "image/png", None),
    (b"\xff\xd8\xff", "image/jpeg", None),
    (b"II*\x00", "image/tiff", None),
    (b"MM\x00*", "image/tiff", None),
    (b"CRAM", "application/x-cram", Category.GENOMICS),
    (b"BAM\x01", "application/x-bam", Category.GENOMICS),
    (b"##fileformat=VCF", "text/x-vcf", Category.GENOMICS),
    (b"@HD\tVN:", "text/x-sam", Category.GENOMICS),
    (b"PK\x03\x04", "application/zip", None),
    (_GZIP, "application/gzip", None),
)
"""First bytes, media type, and the category where there is only one that makes sense."""


@dataclass(frozen=True, slots=True)
class FileKind:
    """What a file seems to be; None where only a person can tell."""

    media_type: str | None
    category: Category | None


@dataclass(frozen=True, slots=True)
class FilePayload:
    """One file to be published, without its content; ``period`` as the ledger shows it, both days inclusive."""

    category: Category
    media_type: str
    period: DayPeriod
    content_bytes: int


def kind_of(head: bytes) -> FileKind:
    """What a file that starts so is, by its first bytes and never by its name."""
    if is_dicom(head):
        return FileKind(DICOM, Category.IMAGING)
    inner = _unpacked(head) if head.startswith(_GZIP) else b""
    for start, media_type, category in _STARTS:
        if inner.startswith(start):
            # Variants and reads are kept compressed (BGZF); BAM names the compressed form.
            packed = media_type if start == b"BAM\x01" else "application/gzip"
            return FileKind(packed, category)
    for start, media_type, category in _STARTS:
        if head.startswith(start) and start != b"BAM\x01":
            if media_type == "application/zip" and patient_ids(head):
                category = Category.IMAGING
            return FileKind(media_type, category)
    return FileKind(None, None)


def file_payload(
    category: Category, media_type: str, period: DayPeriod, content_bytes: int, limit_bytes: int
) -> FilePayload:
    """A file as staff describe it, checked, with its period as the ledger may show it.

    Raises:
        UnsuitableFileError: the media type is none or is FHIR's, or the size is none or beyond ``limit_bytes``.
    """
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise UnsuitableFileError(
            "expected a media type such as application/dicom, in lower case and without parameters; came another"
        )
    if media_type == FHIR_JSON:
        raise UnsuitableFileError(
            f"expected a file that is no bundle; came {FHIR_JSON}: publish it as a bundle, which is validated and split"
        )
    if not 1 <= content_bytes <= limit_bytes:
        raise UnsuitableFileError(
            f"expected a file of 1 to {limit_bytes} bytes; came {content_bytes}: this node's operator sets the limit"
        )
    return FilePayload(category, media_type, shown_period(category, period), content_bytes)


def check_file_patient(head: bytes, identifiers: frozenset[PatientIdentifier]) -> None:
    """Refuses a file whose own words name another patient; most kinds of files name none.

    Args:
        head: the first ``HEAD_BYTES`` of the file, or all of it.
        identifiers: what the registered patient is known by.

    Raises:
        PatientMismatchError: a DICOM file in it has a Patient ID that is no value of these identifiers.
    """
    if patient_ids(head) - {identifier.value.strip() for identifier in identifiers}:
        raise PatientMismatchError(
            "expected images of the patient that was named; a Patient ID (0010,0020) in the file is none of this "
            "patient's identifiers here: check the file and the patient"
        )


def _unpacked(head: bytes) -> bytes:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, _UNPACKED_BYTES)
    except zlib.error:
        return b""
