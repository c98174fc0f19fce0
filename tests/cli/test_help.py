"""The help of every command, compared with what was committed: a change of the command line is seen in review."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from phr_commands import run_phr

from cli.exit_codes import ExitCode
from cli.main import app

HELP = Path(__file__).with_name("help.txt")
PROMISED = {
    "patient": "create register grant revoke deny restrict freeze consents records read history recover allow "
    "unrestrict end status resume backup renew-keys",
    "hospital": "register publish records correct retract patients",
    "member": "request read patients",
    "auditor": "history verify open export",
    "researcher": "replay query",
    "node": "init keys kubo rotate run status enrolment staff move-blocks",
    "network": "up down status join member-add member-remove validator-add validator-remove validator-recover",
    "admin": "create deploy enrol roles suspend seal sign members",
}


def _commands(only_verbs: bool = False) -> Iterator[tuple[str, ...]]:
    """The words of every command, groups too unless ``only_verbs``: `phr network validator add` has three."""

    def below(words: tuple[str, ...], command: Any) -> Iterator[tuple[str, ...]]:
        within = getattr(command, "commands", {})
        if not (only_verbs and within):
            yield words
        for name, inner in within.items():
            yield from below((*words, name), inner)

    return below((), typer.main.get_command(app))


def test_help_of_every_command_is_as_committed() -> None:
    """Rewrite tests/cli/help.txt with UPDATE_SNAPSHOTS=1 when the command line changes on purpose."""
    texts = []
    for words in _commands():
        done = run_phr(*words, "--help", environment={"COLUMNS": "80"})
        assert done.exit_code == ExitCode.DONE, done
        texts.append(f"$ {' '.join(('phr', *words))} --help\n{done.out.rstrip()}\n")
    found = "\n".join(texts)
    if os.environ.get("UPDATE_SNAPSHOTS"):
        HELP.write_text(found)
    assert found == HELP.read_text()


def test_commands_are_those_that_were_promised() -> None:
    found = {who: set() for who in PROMISED}
    for who, *verb in _commands(only_verbs=True):
        found[who].add("-".join(verb))
    assert found == {who: set(verbs.split()) for who, verbs in PROMISED.items()}


@pytest.mark.parametrize("words", list(_commands(only_verbs=True)), ids=" ".join)
def test_help_of_each_command_has_an_example_of_itself_and_json(words: tuple[str, ...]) -> None:
    out = run_phr(*words, "--help", environment={"COLUMNS": "200"}).out
    assert re.search(rf"phr {' '.join(words)}\b", out.split("Options:")[1]), out
    assert "--json" in out or words == ("node", "run")


@pytest.mark.parametrize(
    "words", [(), ("patient",), ("nobody",), ("patient", "grantt"), ("patient", "grant")]
)
def test_words_that_are_not_understood_end_with_usage_and_one_line_or_the_help(
    words: tuple[str, ...],
) -> None:
    done = run_phr(*words)
    assert done.exit_code == ExitCode.USAGE
    assert "Usage:" in done.out + done.err or done.line.endswith("--help`")


def test_words_that_are_not_understood_are_one_document_for_machines() -> None:
    done = run_phr("patient", "grantt", "--json")
    assert done.document["kind"] == "usage"
    assert done.document["exit_code"] == ExitCode.USAGE
    assert "grant" in done.document["error"]


def test_exit_codes_are_all_told_by_the_help() -> None:
    out = run_phr("--help", environment={"COLUMNS": "400"}).out
    assert all(re.search(rf"\b{int(code)}\s+\w", out) for code in ExitCode)


def test_completion_proposes_the_commands() -> None:
    environment = {"_PHR_COMPLETE": "complete_bash", "COMP_WORDS": "phr patient re", "COMP_CWORD": "2"}
    done = run_phr(environment=environment)
    assert {"register", "recover", "revoke", "read", "records"} <= set(done.out.split())
