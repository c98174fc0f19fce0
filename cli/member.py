"""`phr member`: a member's staff ask for what patients consented to, and read it."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.consented import consented_patients, find_patient, member_names
from cli.content import show_content
from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.options import AS_OPTION, TOKEN_OPTION, parse_hex, pick_by_id, staff_of
from cli.output import JSON_OPTION, emit_json, note, say, table, working
from cli.places import NETWORK_OPTION
from cli.saving import check_directory, save_new
from cli.texts import _, plural
from cli.words import (
    day_of_moment_text,
    parse_categories,
    parse_purposes,
    period_text,
    short_hex,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from cli.staff_client import StaffClient
    from wire.patients import ConsentView
    from wire.staff import ConsentedPatient, Download, ReadRecord, ReadResponse

app = typer.Typer(no_args_is_help=True)

_BUNDLE = "application/fhir+json"

_PATIENT = typer.Option(
    ...,
    "--patient",
    "-p",
    help=_("The patient, as they introduced themselves, or the pseudonym's first digits."),
)
_AT = typer.Option(None, "--at", help=_("The provider whose records are meant, where a patient has several."))
_CATEGORIES = typer.Option(
    [], "--category", "-c", help=_("Categories, such as laboratory,medication; default all.")
)
_RECORDS = typer.Option([], "--record", "-r", help=_("Single records by number, instead of categories."))
_PURPOSE = typer.Option("treatment", "--purpose", help=_("Why: treatment, payment, research …"))


@app.command(epilog="phr member patients --as Clinic")
def patients(
    member: str = AS_OPTION,
    token_file: Path | None = TOKEN_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """List the patients who granted this member something, and what can be read now."""
    _place, client = staff_of(network, member, token_file)
    consented = consented_patients(client)
    if as_json:
        return emit_json(consented)
    names = member_names(client) if consented else {}
    table(
        [_("patient"), _("pseudonym"), _("records of"), _("readable now"), _("for"), _("until")],
        [
            (
                patient.introduction or _("(no introduction)"),
                short_hex(patient.patient),
                names.get(patient.provider, short_hex(patient.provider)),
                _readable(patient),
                ", ".join(dict.fromkeys(p.label for c in _standing(patient) for p in c.purposes)),
                _until(patient),
            )
            for patient in consented
        ],
        empty=_("No patient has granted this member anything."),
    )


def _standing(patient: "ConsentedPatient") -> list["ConsentView"]:
    return [consent for consent in patient.consents if not consent.revoked]


def _readable(patient: "ConsentedPatient") -> str:
    counts = Counter(record.category.label for record in patient.records)
    return ", ".join(f"{label} {count}" for label, count in sorted(counts.items())) or _("nothing")


def _until(patient: "ConsentedPatient") -> str:
    standing = _standing(patient)
    if not standing:
        return _("revoked")
    return day_of_moment_text(max(consent.valid_until for consent in standing) - 1)


@app.command(
    epilog='phr member request --as Clinic --patient "Kim Minji" --category laboratory --purpose treatment'
)
def request(
    patient: str = _PATIENT,
    at: str | None = _AT,
    category: list[str] = _CATEGORIES,
    record: list[str] = _RECORDS,
    purpose: str = _PURPOSE,
    member: str = AS_OPTION,
    token_file: Path | None = TOKEN_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Ask the ledger for access, without reading: the decision is recorded, permit or denial."""
    _place, client = staff_of(network, member, token_file)
    answer = _ask(client, patient, at, category, record, purpose, decide_only=True)
    if as_json:
        emit_json(answer)
    else:
        _show_decisions(answer)
    _end_by_decision(answer)


@app.command(epilog='phr member read --as Clinic --patient "Kim Minji" --category laboratory --out records/')
def read(
    patient: str = _PATIENT,
    at: str | None = _AT,
    category: list[str] = _CATEGORIES,
    record: list[str] = _RECORDS,
    purpose: str = _PURPOSE,
    out: Path | None = typer.Option(
        None, "--out", "-o", help=_("Save each record, byte for byte, in this directory.")
    ),
    member: str = AS_OPTION,
    token_file: Path | None = TOKEN_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Ask the ledger for access and, where it permits, read. Every access is recorded before anything opens."""
    if out is not None:
        check_directory(out)
    _place, client = staff_of(network, member, token_file)
    answer = _ask(client, patient, at, category, record, purpose, decide_only=False)
    if out is not None:
        _save(client, answer, out)
    if as_json:
        emit_json(answer)
    else:
        _show_decisions(answer)
        names = member_names(client) if any(one.content or one.download for one in answer.records) else {}
        for opened in answer.records:
            if opened.content is not None:
                show_content(opened.content, _heading(opened, names))
            elif opened.download is not None and out is None:
                say("")
                say(_("{heading}: save it with --out").format(heading=_file_heading(opened, names)))
    _end_by_decision(answer)


def _heading(record: "ReadRecord", names: dict[bytes, str]) -> str:
    return _("{category} of {period}, by {author}, record {number}").format(
        category=record.category.label.replace("-", " "),
        period=period_text(record.start_day, record.end_day),
        author=names.get(record.author, short_hex(record.author)),
        number=short_hex(record.record_id),
    )


def _ask(
    client: "StaffClient",
    typed: str,
    at: str | None,
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
    address, known = find_patient(client, typed, at)
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


def _whole_id(text: str) -> bytes:
    return parse_hex(text, 32, _("record"))


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
    if not answer.records:
        raise CommandError(_("nothing was asked of the ledger, and nothing read"), ExitCode.NOT_FOUND)
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


def _file_heading(record: "ReadRecord", names: dict[bytes, str]) -> str:
    assert record.download is not None
    return _("{what} is a file of {size:.1f} MiB ({kind})").format(
        what=_heading(record, names),
        size=record.download.content_bytes / 2**20,
        kind=record.media_type,
    )


def _save(client: "StaffClient", answer: "ReadResponse", directory: Path) -> None:
    readable = [record for record in answer.records if record.content is not None or record.download]
    if readable:
        directory.mkdir(exist_ok=True, mode=0o700)
    for record in readable:
        stem = f"{record.category.label}-{record.record_id.hex()[:12]}"
        if (content := record.content) is not None:
            path = save_new(directory, stem, _BUNDLE, partial(_write, content))
        elif record.download is not None:
            fetch = partial(_fetch, client, record.download)
            with working(_("fetching"), _("Nothing was saved")) as show:
                path = save_new(directory, stem, record.media_type or "", partial(fetch, show))
        note(_("saved {path}").format(path=path))


def _write(content: bytes, file: "BinaryIO") -> None:
    file.write(content)


def _fetch(
    client: "StaffClient", download: "Download", show: "Callable[[str], None]", file: "BinaryIO"
) -> None:
    """All of it comes, or an error: which the node lets happen only when all of it was verified."""
    from wire.staff import DownloadOutcome

    at = f"/staff/downloads/{download.download_id}"
    size_mib = -(-download.content_bytes // 2**20)
    try:
        client.download(
            at,
            download.content_bytes,
            file,
            lambda done: show(_("fetching: {done} of {size} MiB").format(done=done // 2**20, size=size_mib)),
        )
    except CommandError as error:
        if error.exit_code is not ExitCode.UNREACHABLE:
            raise
        try:
            outcome = client.get(f"{at}/outcome", DownloadOutcome)
        except CommandError:
            # The node may be gone, or know no more of it: then that it broke off is all that is known.
            raise error from None
        if outcome.state != "failed":
            raise
        raise CommandError(
            _("nothing was saved: {detail}").format(detail=outcome.detail), ExitCode.DIVERGED
        ) from error
