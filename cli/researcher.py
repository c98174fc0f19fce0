"""`phr researcher`: replay the ledger into tables, and ask them."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.output import JSON_OPTION, emit_json, note, say, table, working
from cli.places import NETWORK_OPTION, find_network
from cli.texts import _

app = typer.Typer(no_args_is_help=True)

_TABLES = typer.Argument(help=_("The directory with the tables."))


@app.command(epilog="phr researcher replay tables")
def replay(
    directory: Path = _TABLES,
    replace: bool = typer.Option(
        False, "--replace", help=_("Put new tables in the place of an earlier replay's.")
    ),
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Write members, patients, records, consents and accesses as Parquet: pseudonyms only, no content."""
    from cli.replayed import open_chain
    from ledger.replay import replay as replay_ledger

    with working(_("replaying the ledger")), open_chain(find_network(network)) as (chain, deployment):
        done = replay_ledger(chain, deployment, directory, replace=replace)
    if as_json:
        return emit_json(
            {
                "directory": str(done.directory),
                "block_number": done.block_number,
                "block_hash": done.block_hash,
                "event_count": done.event_count,
                "rows": done.rows,
            }
        )
    table([_("table"), _("rows")], list(done.rows.items()), empty="")
    say("")
    say(
        _("{count} events up to block {block} are in {path}.").format(
            count=done.event_count, block=done.block_number, path=done.directory
        )
    )


@app.command(epilog='phr researcher query tables "SELECT category, count(*) FROM records GROUP BY category"')
def query(
    directory: Path = _TABLES,
    sql: str = typer.Argument(
        help=_("A question in SQL (DuckDB) on members, patients, records, consents, accesses.")
    ),
    rows: int = typer.Option(1000, "--rows", min=1, max=1_000_000, help=_("At most so many rows.")),
    as_json: bool = JSON_OPTION,
) -> None:
    """Ask the tables a question in SQL. It reads these tables only: no other file, no network."""
    from ledger.query import query as ask

    if not directory.is_dir():
        raise CommandError(
            _("no tables in {path}: make them with `phr researcher replay`").format(path=directory),
            ExitCode.NOT_FOUND,
        )
    with working(_("asking")):
        answer = ask(directory, sql, max_rows=rows)
    if as_json:
        shown = [[_plain(value) for value in row] for row in answer.rows]
        return emit_json({"columns": list(answer.columns), "rows": shown, "truncated": answer.truncated})
    table(
        list(answer.columns),
        [["" if value is None else value for value in row] for row in answer.rows],
        empty=_("No rows."),
    )
    if answer.truncated:
        note(_("only the first {count} rows are shown; see --rows").format(count=rows))


def _plain(value: Any) -> Any:
    """A value as JSON has it; what it has not, such as dates and decimals, as text."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, date | datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
