"""Rows into files that others open: CSV, JSON or Parquet, by the file's ending. A file appears whole or not at all."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.texts import _
from crypto.private_file import atomic_write_private

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows with the same keys into a new file that only its owner can read.

    Raises:
        CommandError: the file exists, or its ending is none of .csv, .json, .parquet.
    """
    writers = {".csv": _csv, ".json": _json, ".parquet": _parquet}
    if path.suffix not in writers:
        raise CommandError(
            _("expected a file that ends in .csv, .json or .parquet; came: {path}").format(path=path),
            ExitCode.USAGE,
        )
    if path.exists():
        raise CommandError(_("{path} exists; name a new file").format(path=path), ExitCode.BAD_INPUT)
    atomic_write_private(path, writers[path.suffix]([_flat(row) for row in rows]))


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {key: "0x" + value.hex() if isinstance(value, bytes) else value for key, value in row.items()}


def _csv(rows: Sequence[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows({key: _harmless(value) for key, value in row.items()} for row in rows)
    return text.getvalue().encode()


def _harmless(value: Any) -> Any:
    """A member's name must not become a formula in the spreadsheet of whoever opens the file."""
    return "'" + value if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


def _json(rows: Sequence[dict[str, Any]]) -> bytes:
    return json.dumps(list(rows), ensure_ascii=False, indent=2).encode() + b"\n"


def _parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    sink = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(rows)), sink, compression="zstd")
    return sink.getvalue()
