"""What commands show: a table or sentences for people, one JSON document for machines."""

import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.texts import _

JSON_OPTION = typer.Option(False, "--json", help=_("Print one JSON document instead of tables."))
YES_OPTION = typer.Option(False, "--yes", "-y", help=_("Do not ask; for scripts."))

_PIPE_COLUMNS = 10_000
_GAP_COLUMNS = 2
_LEAST_COLUMNS = 4
_JOINERS = "\u200c\u200d"
"""Zero-width joiners: scripts such as Persian need them, and they move nothing on a terminal."""


def clean(text: str) -> str:
    """One line without control or formatting characters, so that no name can drive the terminal that shows it."""
    return "".join("\ufffd" if _is_unsafe(c) else c for c in text.replace("\n", " "))


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character)[0] == "C" and character not in _JOINERS


class Documents:
    """Counts the JSON documents that a run printed, since ``--json`` promises exactly one."""

    def __init__(self) -> None:
        self.printed = 0


documents = Documents()


def emit_json(document: Any) -> None:
    """Print the one document of a ``--json`` command. Characters that could drive a terminal are escaped."""
    text = json.dumps(document, ensure_ascii=False, indent=2, default=_json_value)
    sys.stdout.write(_UNSAFE.sub(_escaped, text) + "\n")
    documents.printed += 1


# Outside strings the document has none of these but line breaks.
_UNSAFE = re.compile(r"[^\n\x20-\x7e]")


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if not _is_unsafe(character):
        return character
    return json.dumps(character, ensure_ascii=True)[1:-1] if character != "\x7f" else "\\u007f"


def _json_value(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if hasattr(value, "label"):
        return value.label
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"cannot print a {type(value).__name__} as JSON")


def say(sentence: str) -> None:
    """Print one sentence or line for a person; on a terminal it breaks between words."""
    sys.stdout.write(_wrapped(clean(sentence), sys.stdout.isatty()) + "\n")


def note(sentence: str) -> None:
    """Print one line on standard error, beside the result."""
    sys.stderr.write(_wrapped(clean(sentence), sys.stderr.isatty()) + "\n")


def _wrapped(sentence: str, terminal: bool) -> str:
    import shutil

    columns = shutil.get_terminal_size().columns
    if not terminal or len(sentence.encode()) <= columns:
        return sentence
    from rich.console import Console
    from rich.text import Text

    console = Console(width=columns)
    return "\n".join(line.plain.rstrip() for line in Text(sentence).wrap(console, columns))


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    empty: str,
    left_out_first: Sequence[int] = (),
    never_folded: Sequence[int] = (),
) -> None:
    """Print rows under column names, as wide as the terminal allows; ``empty`` says that there are none.

    Columns in which no row has anything are left out.

    Args:
        left_out_first: the columns that are left out, one after the other, until a row fits on a line of the terminal.
        never_folded: the columns whose cells are never broken, however narrow the terminal is.
    """
    if not rows:
        say(empty)
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[clean(str(cell)) for cell in row] for row in rows]
    kept = [i for i in range(len(columns)) if any(row[i] for row in cells)]
    terminal = sys.stdout.isatty()
    # A pipe has no width: there a row stays one line, so that grep and awk find it whole.
    console = Console(highlight=False) if terminal else Console(highlight=False, width=_PIPE_COLUMNS)
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    texts = {i: [clean(columns[i]), *(row[i] for row in cells)] for i in kept}
    for i in left_out_first:
        if sum(_unbroken([texts[j] for j in kept])) <= _room(len(kept), console.width):
            break
        kept = [j for j in kept if j != i]
    widths = _widths([texts[i] for i in kept], console.width, [i in never_folded for i in kept])
    # What cannot be narrower is cut by nobody: the terminal goes on in its next line.
    console.width = max(console.width, sum(widths) + console.width - _room(len(kept), console.width))
    for i, width in zip(kept, widths, strict=True):
        # As Text: a bracket in a name is a bracket, not rich's markup.
        shown.add_column(Text(clean(columns[i])), overflow="fold", width=width)
    for row in cells:
        shown.add_row(*(Text(row[i]) for i in kept))
    with console.capture() as capture:
        console.print(shown)
    sys.stdout.write("\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n")


def _room(columns: int, available: int) -> int:
    """How much of a line is left for the texts of so many columns."""
    return available - (_GAP_COLUMNS * (columns - 1) + 1)


def _unbroken(columns: Sequence[Sequence[str]]) -> list[int]:
    """How wide each column (its name, then its cells) is when no cell is broken; a name may be, between words."""
    from rich.cells import cell_len

    return [max(_longest_word(name), *(cell_len(cell) for cell in cells)) for name, *cells in columns]


def _longest_word(text: str) -> int:
    from rich.cells import cell_len

    return max((cell_len(word) for word in text.split()), default=1)


def _widths(columns: Sequence[Sequence[str]], available: int, whole: Sequence[bool]) -> list[int]:
    """How wide each column is: as its texts are, or narrower where they do not fit, the widest first.

    Names of columns are broken first, then cells between words. Words are broken only where even one word a line is too
    wide: half a number names nothing. Cells of columns that stay ``whole`` are never broken.
    """
    from rich.cells import cell_len

    natural, unbroken = [max(map(cell_len, column)) for column in columns], _unbroken(columns)
    words = [max(map(_longest_word, column)) for column in columns]
    widths, room = list(natural), _room(len(columns), available)
    for narrowest in (unbroken, words, [_LEAST_COLUMNS] * len(columns)):
        least = [
            full if stays else most for full, most, stays in zip(unbroken, narrowest, whole, strict=True)
        ]
        while sum(widths) > room:
            spare = [width - minimum for width, minimum in zip(widths, least, strict=True)]
            if max(spare) <= 0:
                break
            widest = max((i for i in range(len(widths)) if spare[i] > 0), key=lambda i: widths[i])
            widths[widest] -= 1
    return [max(width, 1) for width in widths]


def confirm(question: str, yes: bool, as_json: bool = False) -> None:
    """Ask before a dangerous act. A machine is never asked: ``--json`` needs ``--yes``.

    Raises:
        CommandError: the answer was no, or there is nobody to ask and ``--yes`` was not given.
    """
    if yes:
        return
    if as_json or not sys.stdin.isatty():
        raise CommandError(
            _("expected an answer to: {question} There is no terminal to ask on; add --yes").format(
                question=question
            ),
            ExitCode.USAGE,
        )
    if not typer.confirm(clean(question)):
        raise CommandError(_("nothing was changed"), ExitCode.CANCELLED)


@contextmanager
def working(sentence: str, interrupted: str = "") -> Iterator[Callable[[str], None]]:
    """Show that something goes on, on a terminal only, until it is done; yields what replaces the sentence.

    Raises:
        CommandError: Ctrl-C; with ``interrupted``, which says what became of it.
    """
    try:
        if not sys.stderr.isatty():
            yield _unseen
            return
        from rich.console import Console
        from rich.text import Text

        with Console(stderr=True).status(Text(clean(sentence))) as status:
            yield lambda text: status.update(Text(clean(text)))
    except KeyboardInterrupt:
        raise CommandError(
            _("interrupted while {doing}. {what}")
            .format(
                doing=sentence,
                what=interrupted or _("It may have been done all the same: look before you repeat it"),
            )
            .strip(),
            ExitCode.CANCELLED,
        ) from None


def _unseen(_sentence: str) -> None:
    """Nobody watches."""
