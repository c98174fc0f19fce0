"""A node's endpoints in its settings: replaced however they are written, or not at all; and taken by nodes that run,
which are started again one after the other."""

import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from cli import validator_changes
from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.network_parts import Kind, Part
from cli.network_processes import changing
from cli.places import MemberPlace, NetworkPlace
from cli.validator_changes import restart_nodes, write_endpoints
from engines.errors import EngineFailed

URLS = ("http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3")
WRITTEN = [
    'rpc_urls = ["http://127.0.0.1:9"]\n',
    'rpc_urls=["http://127.0.0.1:9","http://127.0.0.1:8"] # the own one first\n',
    'rpc_urls = [\n  "http://127.0.0.1:9", # own ]\n  "http://127.0.0.1:8",\n]\n',
    'rpc_url = "http://127.0.0.1:9"\n',
    'rpc_url = "http://127.0.0.1:9"\nrpc_urls = [\n"http://127.0.0.1:8"]\n',
    '"rpc_urls" = ["http://127.0.0.1:9"]\n',
]


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("last", ['# the end\n[table]\nrpc = "urls"\n', "rpc_confirmations = 1"])
def test_write_endpoints_replaces_them_however_they_are_written_and_nothing_else(
    tmp_path: Path, written: str, last: str
) -> None:
    path = tmp_path / "node.toml"
    path.write_text(f'# of Seoul\nname = "서울병원"\n{written}port = 8080 # own\n{last}')
    write_endpoints(path, URLS)
    text = path.read_text()
    line = 'rpc_urls = ["http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"]\n'
    assert text == f'# of Seoul\nname = "서울병원"\n{line}port = 8080 # own\n{last}'
    assert tomllib.loads(text)["rpc_urls"] == list(URLS)
    assert path.stat().st_mode & 0o777 == 0o600
    write_endpoints(path, URLS)
    assert path.read_text() == text


@pytest.mark.parametrize(
    "content",
    [
        'name = "Seoul"\n',
        'note = """\nrpc_urls = [\n"""\nrpc_urls = ["http://127.0.0.1:9"]\n',
        '[chain]\nrpc_urls = ["http://127.0.0.1:9"]\n',
        'rpc_urls = ["http://127.0.0.1:9"\nname = "Seoul"\n',
    ],
    ids=["none", "within-a-text", "of-a-table", "broken"],
)
def test_write_endpoints_that_cannot_be_replaced_says_so_and_changes_nothing(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "node.toml"
    path.write_text(content)
    with pytest.raises(CommandError, match=r"Write this instead: rpc_urls = \[") as refused:
        write_endpoints(path, URLS)
    assert refused.value.exit_code is ExitCode.BAD_INPUT
    assert path.read_text() == content


@dataclass
class FakeNode:
    """A node's process as `restart_nodes` sees it; what happened to it is written to a log that all share."""

    name: str
    happened: list[str]
    runs: bool = True
    can_start: bool = True
    can_stop: bool = True
    log_path: Path = field(default=Path("/nowhere/node.log"))

    def process(self) -> psutil.Process | None:
        return psutil.Process(os.getpid()) if self.runs else None

    def last_words(self) -> str:
        return "its port is taken"

    def start(self) -> None:
        self.happened.append(f"start {self.name}")
        self.runs = self.can_start

    def stop(self) -> bool:
        if not self.can_stop:
            raise EngineFailed("it does not end")
        self.happened.append(f"stop {self.name}")
        self.runs = False
        return True

    def is_ready(self) -> bool:
        self.happened.append(f"{self.name} is ready")
        return self.runs


MEMBERS = tuple(MemberPlace(name, Path("/nowhere") / name, "", True) for name in ("One", "Two", "Three"))


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeNode]:
    happened: list[str] = []
    made = {member.name: FakeNode(member.name, happened) for member in MEMBERS}
    parts = [
        Part(
            m.name,
            Kind.NODE,
            "",
            made[m.name],
            made[m.name].start,
            made[m.name].is_ready,
            made[m.name].stop,
            member=m,
        )
        for m in MEMBERS
    ]
    monkeypatch.setattr(validator_changes, "stages_of", lambda _place: [parts])
    return made


@pytest.fixture
def place(tmp_path: Path) -> NetworkPlace:
    return NetworkPlace(tmp_path, "anvil", ("http://127.0.0.1:1",), MEMBERS)


def test_restart_nodes_restarts_those_that_run_each_when_the_one_before_is_ready(
    place: NetworkPlace, nodes: dict[str, FakeNode]
) -> None:
    nodes["Two"].runs = False
    said: list[str] = []
    restart_nodes(place, MEMBERS, said.append)
    happened = list(dict.fromkeys(nodes["One"].happened))
    assert happened == [
        f"{verb}" for n in ("One", "Three") for verb in (f"stop {n}", f"start {n}", f"{n} is ready")
    ]
    assert [sentence.split()[0] for sentence in said] == ["The", "One", "Three"]
    # Of a member whose settings are as they were, nothing is touched.
    nodes["One"].happened.clear()
    restart_nodes(place, (), said.append)
    assert nodes["One"].happened == []


def _cannot_start(node: FakeNode) -> None:
    node.can_start = False


def _cannot_stop(node: FakeNode) -> None:
    node.can_stop = False


@pytest.mark.parametrize(
    ("breaks", "reason"), [(_cannot_start, "port is taken"), (_cannot_stop, "does not end")]
)
def test_restart_nodes_of_which_one_fails_leaves_the_others_running_and_names_them(
    place: NetworkPlace, nodes: dict[str, FakeNode], breaks: Callable[[FakeNode], None], reason: str
) -> None:
    breaks(nodes["Two"])
    with pytest.raises(CommandError, match=rf"at their next start: Two, Three \(.*{reason}") as refused:
        restart_nodes(place, MEMBERS, lambda _sentence: None)
    assert refused.value.exit_code is ExitCode.UNREACHABLE
    assert nodes["One"].runs
    assert nodes["Three"].runs
    assert "stop Three" not in nodes["Three"].happened


def test_restart_nodes_while_another_command_starts_or_stops_parts_touches_nothing_and_names_all(
    place: NetworkPlace, nodes: dict[str, FakeNode]
) -> None:
    with changing(place.directory), pytest.raises(CommandError, match="One, Two, Three"):
        restart_nodes(place, MEMBERS, lambda _sentence: None)
    assert nodes["One"].happened == []
