"""`phr member`: a member's staff ask for what patients consented to, and read it."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.options import AS_OPTION, pick_by_id, staff_of
from cli.output import JSON_OPTION, emit_json, note, say, table, working
from cli.places import NETWORK_OPTION
from cli.texts import _, plural
from cli.words import (
    day_of_moment_text,
    match_name,
    parse_categories,
    parse_purposes,
    period_text,
    short_hex,
)

if TYPE_CHECKING:
    from cli.staff_client import StaffClient
    from wire.staff import ConsentedPatient, ReadResponse

app = typer.Typer(no_args_is_help=True)

_PATIENT = typer.Option(
    ...,
    "--patient",
    "-p",
    help=_("The patient, as they introduced themselves, or the pseudonym's first digits."),
)
_CATEGORIES = typer.Option(
    [], "--category", "-c", help=_("Categories, such as laboratory,medication; default all.")
)
_RECORDS = typer.Option([], "--record", "-r", help=_("Single records by number, instead of categories."))
_PURPOSE = typer.Option("treatment", "--purpose", help=_("Why: treatment, payment, research …"))


@app.command(epilog="phr member patients --as Clinic")
def patients(
    member: str = AS_OPTION, network: Path | None = NETWORK_OPTION, as_json: bool = JSON_OPTION
) -> None:
    """List the patients who granted this member something, and what can be read now."""
    _place, client = staff_of(network, member)
    consented = _consented(client)
    if as_json:
        return emit_json(consented)
    table(
        [_("patient"), _("pseudonym"), _("may be read"), _("purposes"), _("until"), _("records")],
        [
            (
                patient.introduction or _("(no introduction)"),
                short_hex(patient.patient),
                ", ".join(category.label for category in consent.categories),
                ", ".join(purpose.label for purpose in consent.purposes),
                _("revoked") if consent.revoked else day_of_moment_text(consent.valid_until - 1),
                len(patient.records),
            )
            for patient in consented
            for consent in patient.consents
        ],
        empty=_("No patient has granted this member anything."),
    )


@app.command(
    epilog='phr member request --as Clinic --patient "Kim Minji" --category laboratory --purpose treatment'
)
def request(
    patient: str = _PATIENT,
    category: list[str] = _CATEGORIES,
    record: list[str] = _RECORDS,
    purpose: str = _PURPOSE,
    member: str = AS_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Ask the ledger for access, without reading: the decision is recorded, permit or denial."""
    _place, client = staff_of(network, member)
    answer = _ask(client, patient, category, record, purpose, decide_only=True)
    if as_json:
        emit_json(answer)
    else:
        _show_decisions(answer)
    _end_by_decision(answer)


@app.command(epilog='phr member read --as Clinic --patient "Kim Minji" --category laboratory --out records/')
def read(
    patient: str = _PATIENT,
    category: list[str] = _CATEGORIES,
    record: list[str] = _RECORDS,
    purpose: str = _PURPOSE,
    out: Path | None = typer.Option(
        None, "--out", "-o", help=_("Save each record's FHIR bundle in this directory.")
    ),
    member: str = AS_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Ask the ledger for access and, where it permits, read. Every access is recorded before anything opens."""
    _place, client = staff_of(network, member)
    answer = _ask(client, patient, category, record, purpose, decide_only=False)
    if out is not None:
        _save(answer, out)
    if as_json:
        emit_json(answer)
    else:
        _show_decisions(answer)
        for opened in answer.records:
            if opened.content is not None:
                show_content(opened.content)
    _end_by_decision(answer)


def _consented(client: "StaffClient") -> "list[ConsentedPatient]":
    from wire.staff import ConsentedPatient

    return client.get("/staff/consents", list[ConsentedPatient])


def _ask(
    client: "StaffClient",
    typed: str,
    categories: list[str],
    records: list[str],
    purpose: str,
    *,
    decide_only: bool,
) -> "ReadResponse":
    from wire.staff import ReadRequest, ReadResponse

    purposes = parse_purposes([purpose])
    if len(purposes) != 1:
        raise CommandError(_("expected one purpose; came: {purpose}").format(purpose=purpose), ExitCode.USAGE)
    address, known = _patient_address(client, typed)
    wanted = tuple(
        pick_by_id(text, known.records, lambda item: item.record_id, _("record")).record_id
        if known
        else _whole_id(text)
        for text in records
    )
    asked = ReadRequest(
        patient=address,
        record_ids=wanted,
        categories=parse_categories(categories),
        purpose=purposes[0],
        decide_only=decide_only,
    )
    with working(_("asking the ledger, then the custodians")):
        return client.post("/staff/reads", ReadResponse, json=asked.model_dump(mode="json"))


def _patient_address(client: "StaffClient", typed: str) -> "tuple[bytes, ConsentedPatient | None]":
    """Who was meant: somebody who granted this member something, else any pseudonym by its full number."""
    text = typed.strip().casefold()
    consented = _consented(client)
    if text.startswith("0x"):
        if len(text) == 42:
            address = bytes.fromhex(text[2:])
            return address, next((patient for patient in consented if patient.patient == address), None)
        found = pick_by_id(typed, consented, lambda patient: patient.patient, _("patient"))
    else:
        found = consented[match_name(typed, [patient.introduction for patient in consented], _("patient"))]
    return found.patient, found


def _whole_id(text: str) -> bytes:
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        value = b""
    if len(value) != 32:
        raise CommandError(_("expected a record's whole number, 0x and 64 digits"), ExitCode.USAGE)
    return value


def _show_decisions(answer: "ReadResponse") -> None:
    table(
        [_("record"), _("category"), _("period"), _("decision"), _("on the ledger as")],
        [
            (
                short_hex(record.record_id),
                record.category.label,
                period_text(record.start_day, record.end_day),
                record.failure or record.reason.label,
                f"#{record.sequence}",
            )
            for record in answer.records
        ],
        empty=_("The patient has no such records."),
    )


def _end_by_decision(answer: "ReadResponse") -> None:
    failed = [record for record in answer.records if record.failure]
    if failed:
        raise CommandError(failed[0].failure or "", ExitCode.UNREACHABLE)
    denied = [record for record in answer.records if record.reason]
    if answer.records and len(denied) == len(answer.records):
        reasons = ", ".join(dict.fromkeys(record.reason.label for record in denied))
        raise CommandError(
            plural(
                "denied ({reasons}); the denial is on the ledger",
                "all denied ({reasons}); the denials are on the ledger",
                len(denied),
            ).format(reasons=reasons),
            ExitCode.REFUSED,
        )


def _save(answer: "ReadResponse", directory: Path) -> None:
    import os

    directory.mkdir(parents=True, exist_ok=True)
    for record in answer.records:
        if record.content is None:
            continue
        path = directory / f"{record.category.label}-{record.record_id.hex()[:12]}.json"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(record.content)
        note(_("saved {path}").format(path=path))


def show_content(content: bytes) -> None:
    """Show a record's content as a table that a person can read."""
    from records import describe

    description = describe(content)
    say("")
    say(f"{description.title} — {description.patient}" if description.patient else description.title)
    table(
        [_("date"), _("kind"), _("what"), _("value")],
        [(row.date, row.kind, row.text, row.value) for row in description.rows],
        empty=_("The record has no entries."),
    )
