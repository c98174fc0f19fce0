"""`phr patient records | read | history`: what there is, what it says, and who asked for it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.content import show_content
from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.output import JSON_OPTION, emit_json, note, say, table, working
from cli.patient.opening import PASSPHRASE_OPTION, WALLET_OPTION, opened
from cli.places import NETWORK_OPTION
from cli.saving import check_new_file
from cli.texts import _
from cli.words import day_of_moment_text, minute_text, parse_categories, period_text, short_hex

if TYPE_CHECKING:
    from wallet import HistoryEntry

app = typer.Typer()


@app.command(epilog="phr patient records --category laboratory")
def records(
    category: list[str] = typer.Option([], "--category", "-c", help=_("Only these categories.")),
    wallet: str | None = WALLET_OPTION,
    passphrase_file: Path | None = PASSPHRASE_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """List all your records, of all your providers, as one."""
    wanted = parse_categories(category)
    with opened(network, wallet, passphrase_file) as open_wallet, working(_("asking the nodes")):
        overview = open_wallet.records()
    shown = [record for record in overview.records if not wanted or record.category in wanted]
    for failure in overview.failures:
        note(failure)
    if as_json:
        return emit_json(
            [
                {
                    "record_id": record.record_id,
                    "provider": record.provider_name,
                    "category": record.category.label,
                    "start_day": record.period.start_day,
                    "end_day": record.period.end_day,
                    "published_at": record.published_at,
                    "superseded": record.superseded,
                    "retracted": record.retracted,
                    "restricted": record.restricted,
                }
                for record in shown
            ]
        )
    table(
        [_("record"), _("provider"), _("category"), _("period"), _("published"), _("status")],
        [
            (
                short_hex(record.record_id),
                record.provider_name,
                record.category.label,
                period_text(record.period.start_day, record.period.end_day),
                day_of_moment_text(record.published_at),
                _status(record),
            )
            for record in shown
        ],
        empty=_("No records yet."),
    )


def _status(record: object) -> str:
    words = {"superseded": _("superseded"), "retracted": _("retracted"), "restricted": _("restricted")}
    return ", ".join(text for flag, text in words.items() if getattr(record, flag))


@app.command(epilog="phr patient read 0x1a2b3c")
def read(
    record: str = typer.Argument(help=_("The record's number, or its first six digits.")),
    out: Path | None = typer.Option(
        None, "--out", "-o", help=_("Save the record, byte for byte, as this file.")
    ),
    wallet: str | None = WALLET_OPTION,
    passphrase_file: Path | None = PASSPHRASE_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Read one of your own records, with the provider's signature checked."""
    if out is not None:
        check_new_file(out)
    with opened(network, wallet, passphrase_file) as open_wallet, working(_("fetching and opening")):
        from wallet import RecordNeedsFile

        try:
            opened_record = open_wallet.read(open_wallet.find_record(record).record_id, out)
        except RecordNeedsFile as error:
            raise CommandError(_("{error}: --out").format(error=error), ExitCode.USAGE) from error
    if out is not None:
        note(_("saved {path}").format(path=out))
    if as_json:
        return emit_json(
            {
                "record_id": opened_record.record.record_id,
                "provider": opened_record.record.provider_name,
                "category": opened_record.record.category.label,
                "media_type": opened_record.media_type,
                "signed_at": opened_record.signed_at,
                "checks": list(opened_record.checks),
                "content_bytes": opened_record.content_bytes,
                "content": None
                if opened_record.content is None
                else opened_record.content.decode("utf-8", "replace"),
            }
        )
    record_read = opened_record.record
    heading = _("{category} of {period}, by {author}, record {number}").format(
        category=record_read.category.label.replace("-", " "),
        period=period_text(record_read.period.start_day, record_read.period.end_day),
        author=record_read.author_name,
        number=short_hex(record_read.record_id),
    )
    if opened_record.content is None:
        say("")
        say(
            _("{heading}: a file of {size:.1f} MiB ({kind})").format(
                heading=heading, size=opened_record.content_bytes / 2**20, kind=opened_record.media_type
            )
        )
    else:
        show_content(opened_record.content, heading)
    say("")
    say(_("Checked: {checks}.").format(checks="; ".join(opened_record.checks)))


@app.command(epilog="phr patient history")
def history(
    wallet: str | None = WALLET_OPTION,
    passphrase_file: Path | None = PASSPHRASE_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show who asked for your records, when, why, and what was decided."""
    with opened(network, wallet, passphrase_file) as open_wallet, working(_("asking the nodes")):
        entries = open_wallet.history()
    if as_json:
        return emit_json(
            [
                {
                    "time": entry.time,
                    "kind": entry.kind,
                    "provider": entry.provider_name,
                    "record_id": entry.record_id,
                    "category": entry.category.label if entry.category is not None else None,
                    "requester": entry.requester_name,
                    "purpose": entry.purpose.name if entry.purpose is not None else None,
                    "decision": entry.reason.name if entry.reason is not None else None,
                    "sequence": entry.sequence,
                    "consent_id": entry.consent_id,
                    "releases": [{"custodian": name, "time": moment} for name, moment in entry.releases],
                }
                for entry in entries
            ]
        )
    table(
        [_("when (UTC)"), _("who"), _("what"), _("records"), _("of"), _("why"), _("decision")],
        _grouped(entries),
        empty=_("Nobody has asked for your records."),
    )


def _grouped(entries: "Sequence[HistoryEntry]") -> list[tuple[object, ...]]:
    """One row for what was asked together: two hundred records in one request are one thing that somebody did."""
    rows = Counter(
        (
            minute_text(entry.time),
            _("you") if entry.reason is None else entry.requester_name,
            entry.category.label if entry.category is not None else short_hex(entry.record_id),
            entry.provider_name,
            entry.purpose.label if entry.purpose is not None else _("your own reading"),
            entry.reason.label if entry.reason is not None else "",
        )
        for entry in entries
    )
    return [(when, who, what, count, *rest) for (when, who, what, *rest), count in rows.items()]
