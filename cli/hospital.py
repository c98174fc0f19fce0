"""`phr hospital`: staff of a provider register patients and publish, correct and retract their records."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.options import (
    AS_OPTION,
    PATIENT_TOKEN_OPTION,
    TOKEN_OPTION,
    parse_identifier,
    pick_by_id,
    read_input,
    staff_of,
)
from cli.output import JSON_OPTION, YES_OPTION, confirm, emit_json, say, table, working
from cli.places import NETWORK_OPTION
from cli.publishing import publish_until_final, require_published, show_outcome, show_rows, show_summary
from cli.publishing_files import FileWords, is_bundle, publish_file
from cli.texts import _
from cli.words import minute_text, moment_text, period_text, short_hex

if TYPE_CHECKING:
    pass

app = typer.Typer(no_args_is_help=True)

_FILE = typer.Argument(
    help=_(
        "A FHIR R4 bundle in JSON, or any other file, which is published as it is; - is a bundle on standard input."
    )
)
_DATE = typer.Option(None, "--date", help=_("Of a file that is no bundle: its (first) day, YYYY-MM-DD."))
_UNTIL = typer.Option(None, "--until", help=_("Its last day, where it is not its first."))
_MEDIA_TYPE = typer.Option(
    None, "--media-type", help=_("What the file is, where its start does not tell: application/dicom …")
)


@app.command(epilog="phr hospital register 4821-7730 --as Seoul --patient 'http://seoul.example/mrn|12345'")
def register(
    code: str = typer.Argument(help=_("The code that the patient shows.")),
    patient: list[str] = typer.Option(
        ...,
        "--patient",
        "-p",
        help=_("An identifier of the patient here, 'system|value'; several are allowed."),
    ),
    member: str = AS_OPTION,
    token_file: Path | None = TOKEN_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Register the patient at the desk, once you have seen who they are."""
    from wire.staff import RegisteredPatient

    place, client = staff_of(network, member, token_file)
    body = {"code": code, "identifiers": [parse_identifier(token).model_dump() for token in patient]}
    with working(_("writing to the ledger")):
        registered = client.post("/staff/registrations", RegisteredPatient, json=body)
    if as_json:
        return emit_json(registered)
    say(
        _("{name} registered the patient as {pseudonym}.").format(
            name=place.name, pseudonym=short_hex(registered.patient)
        )
    )


@app.command(
    epilog="phr hospital publish bundle.json --as Seoul --patient 'http://seoul.example/mrn|12345'\n\n"
    "phr hospital publish study.zip --as Seoul --patient 'http://seoul.example/mrn|12345' "
    "--category imaging --date 2026-03-01"
)
def publish(
    file: Path = _FILE,
    patient: str = PATIENT_TOKEN_OPTION,
    category: str | None = typer.Option(
        None, "--category", "-c", help=_("Of a file that is no bundle: its category, such as imaging.")
    ),
    date: str | None = _DATE,
    until: str | None = _UNTIL,
    media_type: str | None = _MEDIA_TYPE,
    every: bool = typer.Option(False, "--all", help=_("Show every record instead of a row a category.")),
    member: str = AS_OPTION,
    token_file: Path | None = TOKEN_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Sign, seal and publish a bundle of a registered patient, or a file as it is (an image, a genome, a letter)."""
    from wire.limits import BUNDLE_BYTES

    identifier = parse_identifier(patient)
    _place, client = staff_of(network, member, token_file)
    told = FileWords(media_type, category, date, until)
    if is_bundle(file, told):
        content = read_input(file, BUNDLE_BYTES)
        done = publish_until_final(client, "/staff/publications", content, identifier)
    else:
        done = publish_file(client, file, told, identifier, yes, as_json)
    if as_json:
        emit_json(done)
    else:
        show_rows(done.records) if every else show_summary(done.records)
    require_published(done)
    if not as_json:
        show_outcome(done)


@app.command(epilog="phr hospital records --as Seoul --patient 'http://seoul.example/mrn|12345'")
def records(
    patient: str = PATIENT_TOKEN_OPTION,
    member: str = AS_OPTION,
    token_file: Path | None = TOKEN_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """List what was published for a patient."""
    from wire.patients import RecordsView

    _place, client = staff_of(network, member, token_file)
    view = client.get("/staff/records", RecordsView, parse_identifier(patient))
    if as_json:
        return emit_json(view)
    table(
        [_("record"), _("category"), _("period"), _("published (UTC)"), _("status")],
        [
            (
                short_hex(record.record_id),
                record.category.label,
                period_text(record.start_day, record.end_day),
                minute_text(record.published_at),
                status_text(record),
            )
            for record in view.records
        ],
        empty=_("Nothing has been published for this patient."),
    )


def status_text(record: object) -> str:
    """The flags of a ``wire.patients.RecordView`` in words."""
    words = {"superseded": _("superseded"), "retracted": _("retracted"), "restricted": _("restricted")}
    return ", ".join(text for flag, text in words.items() if getattr(record, flag))


@app.command(
    epilog="phr hospital correct 0x1a2b3c corrected.json --as Seoul --patient 'http://seoul.example/mrn|12345'"
)
def correct(
    record: str = typer.Argument(help=_("The record's number, or its first six digits.")),
    file: Path = _FILE,
    patient: str = PATIENT_TOKEN_OPTION,
    date: str | None = _DATE,
    until: str | None = _UNTIL,
    media_type: str | None = _MEDIA_TYPE,
    member: str = AS_OPTION,
    token_file: Path | None = TOKEN_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Publish a corrected version; the old one is marked as superseded and stays readable."""
    from wire.limits import BUNDLE_BYTES
    from wire.patients import RecordsView

    identifier = parse_identifier(patient)
    _place, client = staff_of(network, member, token_file)
    bundle = is_bundle(file, FileWords(media_type, None, date, until))
    content = read_input(file, BUNDLE_BYTES) if bundle else b""
    view = client.get("/staff/records", RecordsView, identifier)
    old = pick_by_id(record, view.records, lambda item: item.record_id, _("record"))
    confirm(
        _("Supersede {category} of {period}, published {when}?").format(
            category=old.category.label,
            period=period_text(old.start_day, old.end_day),
            when=moment_text(old.published_at),
        ),
        yes,
        as_json,
    )
    if bundle:
        done = publish_until_final(client, f"/staff/records/0x{old.record_id.hex()}/correction", content)
    else:
        told = FileWords(media_type, old.category.label, date, until)
        done = publish_file(client, file, told, identifier, yes, as_json, supersedes=old.record_id)
    if as_json:
        emit_json(done)
    require_published(done)
    if as_json:
        return
    say(
        _("{new} supersedes {old}.").format(
            new=short_hex(done.records[0].record_id), old=short_hex(old.record_id)
        )
    )


@app.command(epilog="phr hospital retract 0x1a2b3c --as Seoul --patient 'http://seoul.example/mrn|12345'")
def retract(
    record: str = typer.Argument(help=_("The record's number, or its first six digits.")),
    patient: str = PATIENT_TOKEN_OPTION,
    member: str = AS_OPTION,
    token_file: Path | None = TOKEN_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Retract a record published in error; nobody can request it any more."""
    from wire.patients import RecordsView, RecordView

    _place, client = staff_of(network, member, token_file)
    view = client.get("/staff/records", RecordsView, parse_identifier(patient))
    old = pick_by_id(record, view.records, lambda item: item.record_id, _("record"))
    confirm(
        _("Retract {category} of {period} for good? Later requests for it will be denied.").format(
            category=old.category.label, period=period_text(old.start_day, old.end_day)
        ),
        yes,
        as_json,
    )
    with working(_("writing to the ledger")):
        done = client.post(f"/staff/records/0x{old.record_id.hex()}/retraction", RecordView, json={})
    if as_json:
        return emit_json(done)
    say(_("{record} is retracted.").format(record=short_hex(done.record_id)))


@app.command(epilog="phr hospital patients --as Seoul")
def patients(
    member: str = AS_OPTION,
    token_file: Path | None = TOKEN_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """List the patients who are registered here."""
    from wire.staff import RegisteredPatient

    _place, client = staff_of(network, member, token_file)
    registered = client.get("/staff/patients", list[RegisteredPatient])
    if as_json:
        return emit_json(registered)
    table(
        [_("identifier"), _("pseudonym")],
        [
            (", ".join(f"{i.system}|{i.value}" for i in patient.identifiers), short_hex(patient.patient))
            for patient in registered
        ],
        empty=_("Nobody is registered here yet."),
    )
