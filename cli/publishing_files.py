"""Publishing a file as it is: what it is and whose, asked where it does not tell, and its bytes sent in pieces."""

import hashlib
import os
import sys
import time
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.output import clean, confirm, working
from cli.publishing import PUBLISH_SECONDS
from cli.texts import _
from cli.words import parse_categories, parse_day, period_text

if TYPE_CHECKING:
    from cli.staff_client import StaffClient
    from records import FileKind
    from vocabulary import Category
    from wire.staff import FileAnnouncement, PatientIdentifierValue, Publication

POLL_SECONDS = 0.5
SLOWEST_BYTES_PER_SECOND = 5 * 2**20
"""How fast custodians take a file at least, while it is waited for."""
_BYTES_SHOWN = 2**20


@dataclass(frozen=True)
class FileWords:
    """What the person typed about a file; a bundle tells all of it itself."""

    media_type: str | None
    category: str | None
    date: str | None
    until: str | None


def is_bundle(path: Path, told: FileWords) -> bool:
    """Whether a file is to be published as FHIR: it looks like JSON, and nothing was said that only a file needs.

    Raises:
        CommandError: a file was described, and there is none to be read twice.
    """
    if any((told.media_type, told.category, told.date, told.until)):
        if str(path) == "-":
            raise CommandError(
                _("expected a file that is there; standard input takes bundles only"), ExitCode.USAGE
            )
        return False
    if str(path) == "-":
        return True
    with path.open("rb") as file:
        return file.read(4096).lstrip().startswith(b"{") or path.stat().st_size == 0


def publish_file(
    client: "StaffClient",
    path: Path,
    told: FileWords,
    about: "PatientIdentifierValue",
    yes: bool,
    as_json: bool,
    *,
    supersedes: bytes | None = None,
) -> "Publication":
    """Publish a file, and wait until it is final; the same file described in the same way is published once.

    Args:
        supersedes: the record that it corrects; whoever says that has answered for the patient already.

    Raises:
        CommandError: something is not known of it and nobody can be asked, or the node refused.
    """
    from records import HEAD_BYTES, kind_of
    from wire.staff import FileUpload, Publication

    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        announced = _described(file, path, kind_of(head), told, as_json)
        if supersedes is None:
            _confirm_patient(path, head, announced, about, yes, as_json)
        else:
            announced = announced.model_copy(update={"supersedes": supersedes})
        upload = client.post("/staff/files", FileUpload, json=announced.model_dump(mode="json"), about=about)
        if upload.upload_id is None:
            assert upload.publication is not None
            return _until_final(client, upload.publication, announced.content_bytes)
        file.seek(0)
        with working(_("sending"), _("Nothing of it was published; publish the file again")) as show:
            done = client.put_file(
                f"/staff/files/{upload.upload_id}",
                file,
                announced.content_bytes,
                Publication,
                lambda sent: show(_progress(sent, announced.content_bytes)),
            )
    return _until_final(client, done, announced.content_bytes)


def _described(
    file: BufferedReader, path: Path, kind: "FileKind", told: FileWords, as_json: bool
) -> "FileAnnouncement":
    from wire.staff import FileAnnouncement

    category = _category(kind, told, as_json)
    start = parse_day(told.date or _asked(_("Its (first) day, YYYY-MM-DD"), "--date", as_json))
    end = parse_day(told.until) if told.until else start
    if end < start:
        raise CommandError(_("expected --until not before --date"), ExitCode.USAGE)
    media_type = told.media_type or kind.media_type
    if media_type is None:
        media_type = _asked(_("What it is, such as application/dicom or text/csv"), "--media-type", as_json)
    size_bytes = os.fstat(file.fileno()).st_size
    if not size_bytes:
        raise CommandError(_("{path} is empty").format(path=path), ExitCode.BAD_INPUT)
    file.seek(0)
    with working(_("reading the file")):
        digest = hashlib.file_digest(file, "sha256").digest()
    return FileAnnouncement(
        media_type=media_type.strip().lower(),
        category=category,
        start_day=start,
        end_day=end,
        content_bytes=size_bytes,
        content_digest=digest,
    )


def _category(kind: "FileKind", told: FileWords, as_json: bool) -> "Category":
    if told.category is None and kind.category is not None:
        return kind.category
    categories = parse_categories(
        [told.category or _asked(_("Its category, such as imaging"), "--category", as_json)]
    )
    if len(categories) != 1:
        raise CommandError(_("expected one category for one file"), ExitCode.USAGE)
    return categories[0]


def _confirm_patient(
    path: Path,
    head: bytes,
    announced: "FileAnnouncement",
    about: "PatientIdentifierValue",
    yes: bool,
    as_json: bool,
) -> None:
    """A bundle names its patient, and so do images. Of what names nobody, the person must have looked."""
    from records import patient_ids

    if about.value in patient_ids(head):
        return
    confirm(
        _(
            "Publish {name} as {category} of {period}, of the patient {number}? The file does not say whose it is."
        ).format(
            name=path.name,
            category=announced.category.label,
            period=period_text(announced.start_day, announced.end_day),
            number=about.value,
        ),
        yes,
        as_json,
    )


def _asked(what: str, option: str, as_json: bool) -> str:
    """What the file does not tell, from whoever sits there.

    Raises:
        CommandError: nobody does.
    """
    if as_json or not sys.stdin.isatty():
        raise CommandError(
            _("the file does not tell, so say it: {what} ({option})").format(what=what, option=option),
            ExitCode.USAGE,
        )
    import typer

    return str(typer.prompt(clean(what)))


def _until_final(client: "StaffClient", done: "Publication", size_bytes: int) -> "Publication":
    from wire.staff import Publication

    deadline = time.monotonic() + PUBLISH_SECONDS + size_bytes / SLOWEST_BYTES_PER_SECOND
    with working(
        _("waiting for custodians and the ledger"),
        _("The node carries on by itself; publishing the same file again shows it"),
    ):
        while done.state not in ("published", "abandoned") and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            done = client.get(f"/staff/publications/{done.publication_id}", Publication)
    return done


def _progress(done_bytes: int, size_bytes: int) -> str:
    return _("sending: {done} of {size} MiB").format(
        done=done_bytes // _BYTES_SHOWN, size=-(-size_bytes // _BYTES_SHOWN)
    )
