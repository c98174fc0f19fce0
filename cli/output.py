"""What commands show: a table or sentences for people, one JSON document for machines."""

import json
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.texts import _

JSON_OPTION = typer.Option(False, "--json", help=_("Print one JSON document instead of tables."))
YES_OPTION = typer.Option(False, "--yes", "-y", help=_("Do not ask; for scripts."))


def clean(text: str) -> str:
    """Text without control or formatting characters, so that no record can drive the terminal that shows it."""
    return "".join(c if c == "\n" or unicodedata.category(c)[0] != "C" else "\ufffd" for c in text)


def emit_json(document: Any) -> None:
    """Print the one document of a ``--json`` command."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, default=_json_value) + "\n")


def _json_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if hasattr(value, "label"):
        return value.label
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"cannot print a {type(value).__name__} as JSON")


def say(sentence: str) -> None:
    """Print one sentence or line for a person."""
    sys.stdout.write(clean(sentence) + "\n")


def note(sentence: str) -> None:
    """Print one line on standard error, beside the result."""
    sys.stderr.write(clean(sentence) + "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str) -> None:
    """Print rows under column names, as wide as the terminal allows; ``empty`` says that there are none."""
    if not rows:
        say(empty)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # A pipe has no width: there a row stays one line, so that grep and awk find it whole.
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=10_000)
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(clean(str(cell))) for cell in row))
    console.print(shown)


def confirm(question: str, yes: bool) -> None:
    """Ask before a dangerous act.

    Raises:
        CommandError: the answer was no, or there is nobody to ask and ``--yes`` was not given.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(
            _("expected an answer to: {question} There is no terminal to ask on; add --yes").format(
                question=question
            ),
            ExitCode.USAGE,
        )
    if not typer.confirm(question):
        raise CommandError(_("nothing was changed"), ExitCode.CANCELLED)


@contextmanager
def working(sentence: str) -> Iterator[None]:
    """Show that something goes on, on a terminal only, until it is done."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(sentence):
        yield
