"""Rows into files that others open: CSV, JSON or Parquet, by the file's ending. A file appears whole or not at all."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.saving import check_new_file, save
from cli.texts import _

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """Write rows of these columns into a new file that only its owner can read; none at all is a file of no rows.

    Raises:
        CommandError: as ``check_export``.
    """
    check_export(path)
    save(path, _WRITERS[path.suffix](columns, [_flat(row) for row in rows]))


def check_export(path: Path) -> None:
    """Look whether rows can be written there, before the ledger is read.

    Raises:
        CommandError: the file exists, its directory is missing, or its ending is none of .csv, .json, .parquet.
    """
    if path.suffix not in _WRITERS:
        raise CommandError(
            _("expected a file that ends in .csv, .json or .parquet; came: {path}").format(path=path),
            ExitCode.USAGE,
        )
    check_new_file(path)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {key: "0x" + value.hex() if isinstance(value, bytes) else value for key, value in row.items()}


def _csv(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns))
    writer.writeheader()
    writer.writerows({key: _harmless(value) for key, value in row.items()} for row in rows)
    return text.getvalue().encode()


def _harmless(value: Any) -> Any:
    """A member's name must not become a formula in the spreadsheet of whoever opens the file."""
    return "'" + value if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


def _json(_columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> bytes:
    return json.dumps(list(rows), ensure_ascii=False, indent=2).encode() + b"\n"


def _parquet(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    sink = io.BytesIO()
    table = pa.table({column: [row[column] for row in rows] for column in columns})
    parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue()


_WRITERS = {".csv": _csv, ".json": _json, ".parquet": _parquet}
