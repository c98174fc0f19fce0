"""Tables, sentences and documents: nothing that a record or a name holds reaches the terminal as more than text."""

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import output
from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.output import clean, confirm, emit_json, say, table, working
from vocabulary import Category

DANGEROUS = "\x1b]0;owned\x07\x9b31m\u202egnp.exe\x7f\r\u2066"
_TEXTS = st.text(max_size=40)


def _unsafe(text: str) -> list[str]:
    return [c for c in text if unicodedata.category(c)[0] == "C" and c not in "\n\u200c\u200d"]


@given(_TEXTS)
def test_clean_of_any_text_is_one_line_without_control_characters(text: str) -> None:
    assert not _unsafe(clean(text))
    assert "\n" not in clean(text)
    assert len(clean(text)) == len(text)


def test_clean_of_letters_of_any_script_changes_nothing() -> None:
    for text in ("서울병원", "Hôpital d'Évian", "می\u200cخواهم", "👩\u200d⚕", "[red]x[/red]"):
        assert clean(text) == text
    assert clean("a\nb") == "a b"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | _TEXTS, lambda x: st.lists(x) | st.dictionaries(_TEXTS, x)
    )
)
def test_emit_json_of_any_document_is_that_document_and_drives_no_terminal(document: object) -> None:
    text = _printed_json(document)
    assert not _unsafe(text)
    assert json.loads(text) == document


def _printed_json(document: object) -> str:
    from contextlib import redirect_stdout
    from io import StringIO

    with redirect_stdout(StringIO()) as out:
        emit_json(document)
    return out.getvalue()


def test_emit_json_of_bytes_and_labels_is_hexadecimal_and_words() -> None:
    document = json.loads(_printed_json({"id": b"\x1a\x2b", "category": [Category.VITAL_SIGNS.label]}))
    assert document == {"id": "0x1a2b", "category": ["vital-signs"]}
    with pytest.raises(TypeError, match="object"):
        _printed_json(object())


def test_table_of_dangerous_cells_prints_them_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    table([DANGEROUS], [["[bold red]x[/bold red]"], [DANGEROUS]], empty="")
    out = capsys.readouterr().out
    assert not _unsafe(out)
    assert "[bold red]x[/bold red]" in out


def test_table_on_a_pipe_keeps_a_row_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    table(["a", "b"], [["x" * 300, "one\ntwo"]], empty="")
    assert [line for line in capsys.readouterr().out.splitlines() if "x" * 300 in line and "one two" in line]


def test_table_on_a_narrow_terminal_breaks_no_word(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    table(
        ["record", "category", "what"], [["0x1a2b3c4d", "coverage-and-claims", "long words " * 9]], empty=""
    )
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "coverage-and-claims" in out
    assert max(len(line) for line in out.splitlines()) <= 60


PARTS = (
    ["part", "kind", "at", "final block"],
    [["Health Data Authority validator", "validator", "http://127.0.0.1:12926", "123456"]],
)


@pytest.mark.parametrize(
    ("terminal_columns", "kept", "lines"),
    [
        # The name of a column is broken before anything is left out, and columns are left out before a cell is broken.
        (79, ["part", "kind", "at", "final"], 4),
        (67, ["part", "at", "final"], 4),
        (40, ["part", "at"], 5),
        # Narrower than what is never broken: the terminal breaks the line, not this program.
        (20, ["part", "at"], 11),
    ],
)
def test_table_on_a_narrow_terminal_leaves_columns_out_before_it_breaks_cells_and_never_an_endpoint(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    terminal_columns: int,
    kept: list[str],
    lines: int,
) -> None:
    monkeypatch.setenv("COLUMNS", str(terminal_columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    table(*PARTS, empty="", left_out_first=[1, 3], never_folded=[2])
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()
    names = {word for line in out[: out.index(next(o for o in out if "─" in o))] for word in line.split()}
    assert names - {"block"} == set(kept)
    assert "http://127.0.0.1:12926" in "\n".join(out)
    assert len(out) == lines, out
    assert max(map(len, out)) <= max(terminal_columns, 36)


def test_table_on_a_pipe_leaves_no_named_column_out(capsys: pytest.CaptureFixture[str]) -> None:
    table(*PARTS, empty="", left_out_first=[1, 3], never_folded=[2])
    assert capsys.readouterr().out.splitlines()[0].split() == ["part", "kind", "at", "final", "block"]


def test_table_without_rows_says_so_and_empty_columns_are_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table(["a"], [], empty="Nothing.")
    table(["shown", "unused"], [["x", ""], ["y", ""]], empty="")
    out = capsys.readouterr().out
    assert out.startswith("Nothing.\n")
    assert "unused" not in out


def test_say_on_a_terminal_breaks_between_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    say("서울병원 loses access to 41 records; 7 of them may have been read.")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 1
    assert " ".join(lines) == "서울병원 loses access to 41 records; 7 of them may have been read."


def test_confirm_without_a_terminal_asks_nobody_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(CommandError, match="--yes") as refused:
        confirm("Freeze?", yes=False)
    assert refused.value.exit_code is ExitCode.USAGE
    confirm("Freeze?", yes=True)


def test_confirm_for_a_machine_is_never_a_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    with pytest.raises(CommandError, match="--yes"):
        confirm("Freeze?", yes=False, as_json=True)


def test_confirm_answered_no_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(output.typer, "confirm", lambda _question: False)
    with pytest.raises(CommandError, match="nothing was changed") as refused:
        confirm("Freeze?", yes=False)
    assert refused.value.exit_code is ExitCode.CANCELLED


def test_working_interrupted_says_in_what_and_what_to_do() -> None:
    with (
        pytest.raises(CommandError, match=r"interrupted while signing\. Resume it") as refused,
        working("signing", "Resume it"),
    ):
        raise KeyboardInterrupt
    assert refused.value.exit_code is ExitCode.CANCELLED
