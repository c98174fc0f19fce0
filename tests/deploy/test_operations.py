"""The operator's documentation, held against the software: commands, flags, settings, messages, links."""

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from node_offline import initialise_offline
from said import can_be_said

from cli.main import app
from ledger.engine import Engine
from node.config import NodeConfig

PROJECT = Path(__file__).parents[2]
DOCS = PROJECT / "docs"
PAGES = [DOCS / "operations.md", *sorted((DOCS / "operations").glob("*.md"))]
_FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_CHAIN_BINARY = PROJECT / ".engines" / "phr-chain"


def _fences(page: Path, kind: str) -> list[str]:
    return [body for _, info, body in _FENCE.findall(page.read_text()) if info.strip() == kind]


def _inline(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", _FENCE.sub("", page.read_text()))


def _commands(program: str) -> list[str]:
    """Every command line of a program in the pages: in blocks for the shell, and within sentences."""
    found = []
    for page in PAGES:
        lines = [line for body in _fences(page, "sh") for line in re.sub(r"\\\n\s*", "", body).splitlines()]
        for line in [*lines, *_inline(page)]:
            for part in re.split(r"&&|; | \| ", line):
                words = part.split("#")[0].strip()
                words = re.sub(
                    r"^(sudo -u [\w-]+ |docker compose -f \S+ run --rm --no-deps node )", "", words
                )
                words = words.replace(f"--entrypoint {program} chain", program)
                words = re.sub(rf"^docker compose .* {program} ", f"{program} ", words)
                if re.match(rf"{re.escape(program)} [a-z]", words):
                    found.append(words)
    return sorted(set(found))


PHR_COMMANDS = _commands("phr")
CHAIN_COMMANDS = _commands("phr-chain")


@cache
def _root() -> Any:
    return typer.main.get_command(app)


def _words(command: str) -> list[str]:
    # An ellipsis stands for whatever the reader has to put there.
    return shlex.split(command.replace('"…"', "X").replace("…", "X"))


@pytest.mark.parametrize("command", PHR_COMMANDS)
def test_phr_command_of_the_documentation_exists_with_its_flags(command: str) -> None:
    words = _words(command)[1:]
    found = _root()
    while hasattr(found, "commands") and words and not words[0].startswith("-"):
        name = words.pop(0)
        assert name in found.commands, f"phr has no {name} in: {command}"
        found = found.commands[name]
    assert not hasattr(found, "commands") or not words
    known = {name for parameter in found.params for name in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.partition("=")[0] for word in words if word.startswith("-")}
    assert given - known - {"--help"} == set()


def test_documentation_has_commands_of_each_kind() -> None:
    asked = {tuple(_words(command)[1:3]) for command in PHR_COMMANDS}
    assert {("node", "init"), ("node", "run"), ("node", "status"), ("admin", "enrol")} <= asked
    assert CHAIN_COMMANDS


@pytest.mark.skipif(not _CHAIN_BINARY.exists(), reason="phr-chain is not built: run ./scripts/network build")
@pytest.mark.parametrize("command", CHAIN_COMMANDS)
def test_chain_command_of_the_documentation_exists_with_its_flags(command: str) -> None:
    words = _words(command)[1:]
    verbs = []
    while words and re.fullmatch(r"[a-z][a-z-]*", words[0]) and len(verbs) < 2:
        verbs.append(words.pop(0))
    done = subprocess.run([_CHAIN_BINARY, *verbs, "--help"], capture_output=True, text=True, timeout=240)
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    for flag in {word.partition("=")[0] for word in words if word.startswith("--")}:
        assert re.search(rf"{flag}\b", text), f"{flag} is no flag of {' '.join(verbs)}"


def test_engine_of_the_documentation_is_an_engine() -> None:
    [block] = _fences(DOCS / "operations" / "besu.md", "python")
    made: dict[str, Any] = {"Engine": Engine}
    exec(compile(block, "besu.md", "exec"), made)
    assert made["BESU"].name == "besu"
    assert made["BESU"].max_gas <= int("0x5f5e100", 16), "a block of the genesis there holds it"


def test_json_and_toml_of_the_documentation_parse() -> None:
    for page in PAGES:
        for kind, parse in (("json", json.loads), ("toml", tomllib.loads)):
            for body in _fences(page, kind):
                parse(body)


def _node_settings() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for place, body in enumerate(_fences(page, "toml node.toml")):
            yield f"{page.stem}-{place}", body


@pytest.mark.parametrize("settings", [s for _, s in _node_settings()], ids=[n for n, _ in _node_settings()])
def test_settings_of_the_documentation_are_taken_by_a_node(settings: str, tmp_path: Path) -> None:
    initialise_offline(tmp_path)
    path = tmp_path / "node" / "node.toml"
    written, wanted = tomllib.loads(path.read_text()), tomllib.loads(settings)
    if "rpc_urls" in wanted:
        written.pop("rpc_url", None)
    kept = [
        line
        for line in path.read_text().splitlines()
        if line.partition(" = ")[0] in set(written) - set(wanted)
    ]
    path.write_text("\n".join([*kept, settings]))
    loaded = NodeConfig.load(tmp_path / "node")
    assert {name: str(getattr(loaded, name)) for name in wanted if not isinstance(wanted[name], list)} == {
        name: str(value) for name, value in wanted.items() if not isinstance(value, list)
    }


def test_settings_named_in_sentences_are_settings_of_a_node() -> None:
    looks_like_one = re.compile(r"[a-z]+(_[a-z]+)+")
    others = re.compile(
        r"phr_.*|node_(timex|filesystem)_.*|(eth|qbft|perm)_[a-zA-Z]+|genesis_sha256|catching_up|node_id|archive_.*|pg_\w+|"
        r"synchronous_commit|unauthenticated"
    )
    named = {word for page in PAGES for word in _inline(page) if looks_like_one.fullmatch(word)}
    settings = {word for word in named if not others.fullmatch(word)}
    assert settings
    assert settings <= set(NodeConfig.model_fields)


def _messages() -> list[str]:
    blocks = [line for page in PAGES for body in _fences(page, "message") for line in body.splitlines()]
    cells = []
    for page in PAGES:
        for table in re.findall(r"^\| it says \|.*\n\|[-|]+\n((?:\|.*\n)+)", page.read_text(), re.MULTILINE):
            cells += [re.match(r"\| `([^`]+)`", row)[1] for row in table.splitlines()]  # type: ignore[index]
    return sorted({text.strip() for text in [*blocks, *cells] if text.strip()})


@pytest.mark.parametrize("message", _messages())
def test_message_of_the_runbook_is_one_that_the_software_says(message: str) -> None:
    assert can_be_said(message)


def test_messages_are_compared_for_what_they_say() -> None:
    assert len(_messages()) > 15
    assert can_be_said("the node in … runs already: stop that process first")
    assert not can_be_said("the node in … runs twice: stop that process first")


def _links() -> list[tuple[Path, str]]:
    pages = [*PAGES, DOCS / "threat-model.md", PROJECT / "README.md"]
    return [
        (page, link)
        for page in pages
        for link in re.findall(r"\]\(([^)\s]+)\)", _FENCE.sub("", page.read_text()))
        if "://" not in link
    ]


@pytest.mark.parametrize(
    ("page", "link"), _links(), ids=lambda value: value.stem if isinstance(value, Path) else value
)
def test_link_leads_to_a_file_and_a_heading(page: Path, link: str) -> None:
    file, _, anchor = link.partition("#")
    target = (page.parent / file).resolve() if file else page
    assert target.exists(), f"{page.name}: {link}"
    if anchor:
        headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
        assert anchor in {_anchor(heading) for heading in headings}, f"{page.name}: {link}"


def _anchor(heading: str) -> str:
    """As forges make it of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_scripts_and_files_of_the_project_that_are_named_exist() -> None:
    named = {
        re.sub(r"[ #:].*", "", word)
        for page in PAGES
        for word in _inline(page)
        if re.match(r"(\./)?(scripts|deploy|docs|tests|contracts|engines|ledger|node|cli)/[\w./-]+", word)
    }
    assert named
    assert [name for name in named if not (PROJECT / name).exists()] == []


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not on this machine")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_shell_blocks_are_shell(page: Path) -> None:
    for body in _fences(page, "sh"):
        done = subprocess.run(["bash", "-n"], input=body, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
