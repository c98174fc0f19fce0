"""Files that are published as they are: what they seem to be, and whose they say they are."""

import gzip
import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from records import (
    FilePayload,
    PatientIdentifier,
    PatientMismatchError,
    UnsuitableFileError,
    check_file_patient,
    file_payload,
    kind_of,
)
from records.dicom import patient_ids
from vocabulary import Category, DayPeriod

DAY = DayPeriod(738000, 738000)
IDENTIFIERS = frozenset({PatientIdentifier("http://seoul.example/mrn", "12345")})


def dicom(patient: str | None = "12345", *, explicit: bool = True, undefined: bool = False) -> bytes:
    """A file as pydicom writes it, with a nested sequence before the patient."""
    pydicom = pytest.importorskip("pydicom")
    uid, dataset_module = pydicom.uid, pydicom.dataset
    inner = dataset_module.Dataset()
    inner.ReferencedSOPInstanceUID = "1.2.3.4"
    inner.PurposeOfReferenceCodeSequence = [dataset_module.Dataset()]
    dataset = dataset_module.Dataset()
    dataset.SOPClassUID = dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.StudyDate, dataset.PatientName = "20260301", "Kim^Minji"
    dataset.ReferencedImageSequence = [inner, inner]
    if undefined:
        dataset["ReferencedImageSequence"].is_undefined_length = True
        inner["PurposeOfReferenceCodeSequence"].is_undefined_length = True
        inner.is_undefined_length_sequence_item = True
    if patient is not None:
        dataset.PatientID = patient
    dataset.Rows = dataset.Columns = 64
    dataset.PixelData = bytes(4096)
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = dataset_module.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = (
        uid.ExplicitVRLittleEndian if explicit else uid.ImplicitVRLittleEndian
    )
    dataset.file_meta.MediaStorageSOPClassUID = dataset.file_meta.MediaStorageSOPInstanceUID = (
        dataset.SOPClassUID
    )
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def archive(*members: bytes, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as made:
        made.mkdir("study")
        made.writestr("study/notes.txt", "a study")
        for number, member in enumerate(members):
            made.writestr(f"study/{number}.dcm", member)
    return file.getvalue()


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize("patient", ["12345", "MRN 7", None])
def test_patient_ids_of_what_pydicom_writes_are_what_pydicom_reads(patient, explicit, undefined):
    file = dicom(patient, explicit=explicit, undefined=undefined)
    assert patient_ids(file) == (frozenset() if patient is None else {patient})


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_patient_ids_of_an_archive_are_those_of_its_images(compression):
    assert patient_ids(archive(dicom("1"), dicom("2"), compression=compression)) == {"1", "2"}


@given(st.binary(max_size=500))
def test_patient_ids_of_any_bytes_raises_nothing(data):
    assert isinstance(patient_ids(bytes(128) + b"DICM" + data), frozenset)
    assert isinstance(patient_ids(b"PK\x03\x04" + data), frozenset)


@given(position=st.integers(132, 700), value=st.integers(0, 255), kept=st.integers(100, 5000))
def test_patient_ids_of_altered_files_raises_nothing(position, value, kept):
    file = bytearray(dicom(undefined=True)[:kept])
    file[position % len(file)] = value
    assert isinstance(patient_ids(bytes(file)), frozenset)


@pytest.mark.parametrize(
    ("head", "media_type", "category"),
    [
        (b"%PDF-1.7\n", "application/pdf", None),
        (b"\x89PNG\r\n\x1a\n....", "image/png", None),
        (b"##fileformat=VCFv4.3\n", "text/x-vcf", Category.GENOMICS),
        (gzip.compress(b"##fileformat=VCFv4.3\n", mtime=0), "application/gzip", Category.GENOMICS),
        (gzip.compress(b"BAM\x01rest", mtime=0), "application/x-bam", Category.GENOMICS),
        (b"CRAM\x03", "application/x-cram", Category.GENOMICS),
        (gzip.compress(b"anything", mtime=0), "application/gzip", None),
        (b"hello", None, None),
        (b"", None, None),
    ],
)
def test_kind_of_known_starts(head, media_type, category):
    assert (kind_of(head).media_type, kind_of(head).category) == (media_type, category)


def test_kind_of_images_is_imaging():
    assert kind_of(dicom()).media_type == "application/dicom"
    assert kind_of(archive(dicom())).category is Category.IMAGING
    assert kind_of(archive()).category is None


def test_file_of_the_named_patient_or_of_nobody_is_taken():
    for head in (dicom("12345"), dicom(" 12345 "), archive(dicom()), b"%PDF-1.7"):
        check_file_patient(head, IDENTIFIERS)


@pytest.mark.parametrize("make", [dicom, lambda patient: archive(dicom("12345"), dicom(patient))])
def test_attack_publish_anothers_images_is_refused_and_names_nobody(make):
    with pytest.raises(PatientMismatchError) as caught:
        check_file_patient(make("someone-else"), IDENTIFIERS)
    assert "someone-else" not in str(caught.value)
    assert "12345" not in str(caught.value)


def test_sensitive_file_shows_only_its_calendar_year():
    made = file_payload(Category.GENOMICS, "text/x-vcf", DAY, 5, 10)
    assert made == FilePayload(Category.GENOMICS, "text/x-vcf", DAY.calendar_years(), 5)
    assert file_payload(Category.IMAGING, "application/dicom", DAY, 5, 10).period == DAY


@pytest.mark.parametrize(
    ("media_type", "content_bytes"),
    [
        ("application/fhir+json", 5),
        ("nonsense", 5),
        ("Application/PDF", 5),
        ("text/plain; charset=utf-8", 5),
        ("text/plain\n", 5),
        ("application/pdf", 0),
        ("application/pdf", 11),
    ],
)
def test_file_that_can_be_no_record_is_refused(media_type, content_bytes):
    with pytest.raises(UnsuitableFileError):
        file_payload(Category.DOCUMENT, media_type, DAY, content_bytes, 10)
