"""Starting and stopping what a network has: one command at a time, and all that can be stopped is."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cli import network_processes
from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.network_parts import Kind, Part
from cli.network_plan import Plan
from cli.network_processes import LOCK_FILE, changing, start_network, start_parts, stop_network, stop_parts
from cli.network_setup import create_network
from cli.places import NetworkPlace
from engines.errors import EngineFailed
from engines.processes import Background


def part(name: str, stop: Callable[[], bool]) -> Part:
    return Part(name, Kind.NODE, "", Background(Path("/nowhere"), name), lambda: None, lambda: False, stop)


def fails() -> bool:
    raise EngineFailed("it does not end")


@pytest.fixture
def place(tmp_path: Path) -> NetworkPlace:
    return NetworkPlace(tmp_path, "anvil", ("http://127.0.0.1:1",), ())


def test_stop_of_a_part_that_does_not_end_stops_all_others_and_names_it(
    place: NetworkPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    def ends(name: str) -> Part:
        return part(name, lambda: not ended.append(name))

    stages = [[ends("chain"), part("database", lambda: False)], [ends("one"), part("two", fails)]]
    assert [failure.part.name for failure in stop_parts(stages)[1]] == ["two"]
    assert ended == ["one", "chain"]
    monkeypatch.setattr(network_processes, "stages_of", lambda _place: stages)
    with pytest.raises(CommandError, match="two was not stopped: it does not end") as refused:
        stop_network(place)
    assert refused.value.exit_code is ExitCode.FAILED
    assert ended == ["one", "chain"] * 2


def test_start_and_stop_while_another_command_does_are_refused_and_touch_nothing(place: NetworkPlace) -> None:
    for change in (lambda: start_network(place, print), lambda: stop_network(place)):
        with changing(place.directory), pytest.raises(CommandError, match="now: try again") as refused:
            change()
        assert refused.value.exit_code is ExitCode.UNREACHABLE
    # Held by nobody any more, it is in nobody's way.
    assert stop_network(place) == []


def test_two_commands_that_make_one_network_at_once_one_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "network"
    directory.mkdir()
    with changing(directory), pytest.raises(CommandError, match="another command"):
        create_network(directory, Plan(), print)
    assert [path.name for path in directory.iterdir()] == [LOCK_FILE]


def test_part_that_is_busy_a_moment_after_it_was_ready_is_not_called_suspended() -> None:
    answers = [True]
    said: list[str] = []
    busy = Part(
        "validator",
        Kind.VALIDATOR,
        "http://127.0.0.1:1",
        Background(Path("/nowhere"), "validator"),
        lambda: None,
        lambda: bool(answers) and answers.pop(),
        lambda: True,
    )
    assert start_parts([busy], said.append) == []
    assert said == ["validator is ready at http://127.0.0.1:1."]
