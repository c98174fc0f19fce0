"""`phr auditor`: who read what, when, why; proof that nothing is missing; and who the person was."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.options import parse_hex, pick_by_id
from cli.output import JSON_OPTION, emit_json, note, say, table, working
from cli.places import NETWORK_OPTION, NetworkPlace, find_network
from cli.texts import _, plural
from cli.words import match_name, minute_text, moment_of_day, short_hex

if TYPE_CHECKING:
    from ledger.history import HistoryRow
    from ledger.verification import Step, Verification

app = typer.Typer(no_args_is_help=True)

_PATIENT = typer.Option(None, "--patient", "-p", help=_("Only this pseudonym, by its first digits."))
_REQUESTER = typer.Option(
    None, "--member", "-m", help=_("Only requests of this member, by name or part of it.")
)
_SINCE = typer.Option(None, "--since", help=_("Only from this day on (2026-01-31, UTC)."))
_UNTIL = typer.Option(None, "--until", help=_("Only up to this day."))


@app.command(epilog="phr auditor history --member Clinic --since 2026-01-01")
def history(
    patient: str | None = _PATIENT,
    member: str | None = _REQUESTER,
    since: str | None = _SINCE,
    until: str | None = _UNTIL,
    denied: bool = typer.Option(False, "--denied", help=_("Only denials.")),
    limit: int = typer.Option(0, "--limit", min=0, help=_("Only the newest so many; 0 = all.")),
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show every decision on the access log, the oldest first."""
    place = find_network(network)
    rows = _decisions(place, patient, member, since, until)
    if denied:
        rows = [row for row in rows if not row.permitted]
    rows = rows[-limit:] if limit else rows
    if as_json:
        return emit_json([_document(row) for row in rows])
    table(
        [_("when (UTC)"), _("who"), _("why"), _("what"), _("record"), _("patient"), "#", _("decision")],
        [
            (
                minute_text(row.time_seconds),
                row.requester_name,
                row.purpose.label,
                row.category.label if row.category is not None else "",
                short_hex(row.record_id),
                short_hex(row.patient),
                row.sequence,
                row.reason.label,
            )
            for row in rows
        ],
        empty=_("No access was asked for."),
    )


def _decisions(
    place: NetworkPlace, patient: str | None, member: str | None, since: str | None, until: str | None
) -> "list[HistoryRow]":
    from cli.replayed import open_chain
    from ledger.history import read_history

    with working(_("reading the ledger")), open_chain(place) as (chain, deployment):
        whole = read_history(chain, deployment)
    # Only pseudonyms with a decision can be meant; the whole number may name others.
    address = None if patient is None else _pseudonym(patient, {row.patient for row in whole.decisions()})
    requester = None
    if member is not None:
        addresses = list(whole.member_names)
        requester = addresses[match_name(member, [whole.member_names[a] for a in addresses], _("member"))]
    return whole.decisions(
        patient=address,
        requester=requester,
        since_seconds=None if since is None else moment_of_day(since),
        until_seconds=None if until is None else moment_of_day(until, end=True),
    )


def _pseudonym(typed: str, known: Collection[bytes]) -> bytes:
    if len(typed.strip()) == 42:
        return parse_hex(typed, 20, _("pseudonym"))
    return pick_by_id(typed, sorted(known), lambda address: address, _("pseudonym"))


_COLUMNS = (
    "time",
    "patient",
    "sequence",
    "requester",
    "requester_account",
    "record_id",
    "category",
    "purpose",
    "permitted",
    "reason",
    "consent_id",
    "person_commitment",
    "block_number",
    "transaction_hash",
)
"""The keys of a decision, in JSON and in exported files."""


def _document(row: "HistoryRow") -> dict[str, Any]:
    return {
        "time": row.time_seconds,
        "patient": row.patient,
        "sequence": row.sequence,
        "requester": row.requester_name,
        "requester_account": row.requester,
        "record_id": row.record_id,
        "category": row.category.label if row.category is not None else None,
        "purpose": row.purpose.name,
        "permitted": row.permitted,
        "reason": row.reason.name,
        "consent_id": row.consent_id,
        "person_commitment": row.person_commitment,
        "block_number": row.block_number,
        "transaction_hash": row.transaction_hash,
    }


@app.command(epilog="phr auditor verify --member Seoul")
def verify(
    member: list[str] = typer.Option(
        [], "--member", "-m", help=_("Also verify all that this member's node stores on this machine.")
    ),
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Recompute the whole ledger from its events and compare it with the contract; name the first divergence."""
    from cli.replayed import open_chain
    from ledger.verify import verify as verify_ledger
    from node.local_verify import local_check

    place = find_network(network)
    checks: list[Any] = [local_check(place.member(name).directory) for name in member] or [None]
    for check in checks:
        with working(_("replaying the ledger")) as show, open_chain(place) as (chain, deployment):

            def on_step(step: "Step", show: Callable[[str], None] = show) -> None:
                show(_("step {number} holds: {title}").format(number=step.number, title=step.title))

            found = verify_ledger(chain, deployment, local=check, on_step=on_step)
        if not found.agrees:
            break
    if as_json:
        emit_json(_verification(found))
    else:
        _show(found)
    if not found.agrees:
        divergence = found.first_divergence
        raise CommandError(
            _("the ledger diverges: {text}").format(text=divergence.text if divergence else ""),
            ExitCode.DIVERGED,
        )


def _verification(found: "Verification") -> dict[str, Any]:
    divergence = found.first_divergence
    return {
        "complete": found.agrees,
        "block_number": found.block.number if found.block else None,
        "block_hash": found.block.hash if found.block else None,
        "events": found.event_count,
        "decisions": found.decision_count,
        "steps": [{"number": s.number, "title": s.title, "compared": s.compared} for s in found.steps],
        "first_divergence": None
        if divergence is None
        else {
            "step": divergence.step,
            "what": divergence.what,
            "expected": divergence.expected,
            "found": divergence.found,
            "block_number": divergence.block_number,
        },
    }


def _show(found: "Verification") -> None:
    table(
        ["#", _("verified"), _("compared")],
        [(step.number, step.title, step.compared) for step in found.steps],
        empty=_("Nothing could be verified."),
    )
    if found.agrees and found.block is not None:
        say("")
        say(
            plural(
                "Complete: {count} event up to block {block} adds up; nothing is missing or altered.",
                "Complete: all {count} events up to block {block} add up; nothing is missing or altered.",
                found.event_count,
            ).format(count=found.event_count, block=found.block.number)
        )


@app.command("open", epilog="phr auditor open 0x1a2b3c4d 3 --as Authority")
def open_person(
    patient: str = typer.Argument(help=_("The pseudonym's first digits, as in the history.")),
    sequence: int = typer.Argument(min=1, help=_("The access's number, as in the history.")),
    auditor: str = typer.Option(
        ..., "--as", envvar="PHR_MEMBER", help=_("The auditing member whose keys sign.")
    ),
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Ask the member behind an access who the person was, and check the answer against the ledger."""
    from cli.opening_person import open_commitment

    place = find_network(network)
    rows = [row for row in _decisions(place, patient, None, None, None) if row.sequence == sequence]
    if not rows:
        raise CommandError(_("no such access on the ledger"), ExitCode.NOT_FOUND)
    opening = open_commitment(place, place.member(auditor).directory, rows[0])
    if as_json:
        return emit_json(
            {
                "requester": rows[0].requester_name,
                "staff_id": opening.staff_id,
                "role": opening.role,
                "commitment": opening.commitment,
                "matches_the_ledger": True,
            }
        )
    say(
        _("{staff} ({role}) at {member}. The answer matches the commitment on the ledger.").format(
            staff=opening.staff_id, role=opening.role, member=rows[0].requester_name
        )
    )


@app.command(epilog="phr auditor export history.csv --since 2026-01-01")
def export(
    file: Path = typer.Argument(help=_("The new file: .csv, .json or .parquet.")),
    patient: str | None = _PATIENT,
    member: str | None = _REQUESTER,
    since: str | None = _SINCE,
    until: str | None = _UNTIL,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Write the decisions on the access log into a file for a report."""
    from cli.exporting import check_export, write_rows

    check_export(file)
    rows = _decisions(find_network(network), patient, member, since, until)
    write_rows(file, _COLUMNS, [_document(row) for row in rows])
    if as_json:
        return emit_json({"file": str(file), "rows": len(rows)})
    note(
        plural("{count} decision in {path}", "{count} decisions in {path}", len(rows)).format(
            count=len(rows), path=file
        )
    )
