"""A network whose making is interrupted, wherever: nothing of it runs unknown, and the same command makes it again."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from interrupted_up import Moment, interrupt
from phr_commands import run_phr

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.network_description import read_plan, without_parts, write_network, write_unfinished
from cli.network_plan import BFT, KUBO, POSTGRES, Plan, parse_member
from cli.network_processes import LOCK_FILE, start_network
from cli.network_setup import create_network
from cli.network_unfinished import check_directory
from cli.places import UNFINISHED, NetworkPlace, find_unfinished, network_exists
from engines.processes import Background

CARE = "provider,consumer,custodian"
MEMBERS = ("--member", f"One={CARE}", "--member", f"Two={CARE}")
AT_WORK = [sys.executable, "-c", "import time; time.sleep(600)"]


def running(directory: Path) -> list[str]:
    """The commands of all processes that have something to do with a directory."""
    found = (" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
    return [words for words in found if str(directory) in words]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "network"
    run_phr("network", "down", tmp_path / "network")


@pytest.fixture
def place(tmp_path: Path) -> NetworkPlace:
    return NetworkPlace(tmp_path, "anvil", ("http://127.0.0.1:1",), ())


# Five times `phr` and a whole network: half a minute, and minutes on a busy machine.
@pytest.mark.timeout(900)
def test_network_killed_at_any_moment_of_its_making_is_known_stopped_and_made_again(directory: Path) -> None:
    setup = "cli.network_setup"
    # Each begins with what the one before it left, also with what that left running.
    for moment, is_stopped_first in (
        (Moment(setup, "write_unfinished"), False),
        (Moment("subprocess", "Popen"), True),
        (Moment(setup, "_deploy"), False),
        (Moment("shutil", "rmtree", count=2), True),
        (Moment(setup, "_enrol_members"), False),
    ):
        killed = interrupt(signal.SIGKILL, moment, "network", "up", directory, *MEMBERS)
        assert killed.returncode == -signal.SIGKILL, (moment, killed)
        assert not network_exists(directory)
        shown = run_phr("network", "status", directory)
        assert shown.exit_code == ExitCode.NOT_FOUND
        assert "is unfinished" in shown.line
        assert f"`phr network up {directory}`" in shown.line
        if is_stopped_first:
            down = run_phr("network", "down", directory)
            assert down.exit_code == 0, (moment, down)
            assert "is unfinished" in down.out
            assert running(directory) == []
    assert running(directory) != []
    # It knows what it was to be.
    made = run_phr("network", "up", directory)
    assert made.exit_code == 0, made
    assert "is unfinished: what is there is removed" in made.out
    members = run_phr("admin", "members", "--network", directory, "--json").document
    assert [member["name"] for member in members] == ["One", "Two"]
    assert not (directory / UNFINISHED).exists()
    assert run_phr("network", "down", directory, "--json").document["stopped"] == ["One", "Two", "chain"]
    assert running(directory) == []


@pytest.mark.parametrize(
    ("function", "did"), [("_make_administrator", "nothing of it runs"), ("_deploy", "stopped chain")]
)
def test_network_interrupted_while_it_is_made_says_what_was_stopped_and_how_to_go_on(
    directory: Path, function: str, did: str
) -> None:
    moment = Moment("cli.network_setup", function)
    ended = interrupt(signal.SIGINT, moment, "network", "up", directory, *MEMBERS)
    assert ended.returncode == ExitCode.CANCELLED, ended
    assert ended.stderr == f"phr: cancelled; {did}. `phr network up {directory}` makes the network again\n"
    assert running(directory) == []
    assert run_phr("network", "down", directory, "--json").document["stopped"] == []


def test_any_command_that_is_interrupted_says_so_and_ends_as_the_help_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_words: object, **_more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.places.find_network", interrupted)
    done = run_phr("network", "status", tmp_path, "--json")
    assert done.exit_code == ExitCode.CANCELLED == done.document["exit_code"]
    assert done.document["kind"] == "cancelled"
    assert done.line.startswith("cancelled. ")


@pytest.mark.parametrize(
    "plan", [Plan(), Plan((parse_member("A=custodian,auditor"),), 3, BFT, KUBO, POSTGRES)]
)
def test_plan_of_an_unfinished_network_is_read_as_it_was_written(place: NetworkPlace, plan: Plan) -> None:
    assert read_plan(place.directory) is None
    write_unfinished(without_parts(place), plan)
    assert read_plan(place.directory) == plan


@pytest.mark.parametrize("document", ["{}", "[]", '{"plan": 7}', '{"plan": {"members": ["x"]}}'])
def test_plan_that_is_none_is_refused_in_one_line(tmp_path: Path, document: str) -> None:
    (tmp_path / UNFINISHED).write_text(document)
    done = run_phr("network", "up", tmp_path)
    assert done.exit_code in (ExitCode.BAD_INPUT, ExitCode.USAGE)
    assert done.line
    assert [path.name for path in tmp_path.iterdir()] == [UNFINISHED]


@pytest.mark.parametrize("other", ["notes", "wallets/kim/wallet.vault", "members/one/node.log", "notes.tmp"])
def test_unfinished_network_with_something_else_beside_it_is_refused_and_nothing_is_touched(
    place: NetworkPlace, other: str
) -> None:
    write_unfinished(place, Plan())
    worker = Background(place.chain_directory, "chain")
    process = worker.start(AT_WORK)
    try:
        (place.directory / other).parent.mkdir(parents=True, exist_ok=True)
        (place.directory / other).write_text("mine")
        before = sorted(place.directory.rglob("*"))
        with pytest.raises(CommandError, match="which its making did not write") as refused:
            create_network(place.directory, Plan(), print)
        assert refused.value.exit_code is ExitCode.BAD_INPUT
        assert other.split("/")[0] in str(refused.value)
        assert sorted({*before, place.directory / LOCK_FILE}) == sorted(
            {*place.directory.rglob("*"), place.directory / LOCK_FILE}
        )
        assert worker.process() == process
    finally:
        worker.stop()


@pytest.mark.parametrize("name", ["chain", "postgres", "members", "deployment.json"])
def test_attack_link_to_other_files_in_an_unfinished_network_is_refused_and_not_followed(
    place: NetworkPlace, tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    theirs = tmp_path_factory.mktemp("theirs")
    (theirs / "kept").touch()
    write_unfinished(without_parts(place), Plan())
    (place.directory / name).symlink_to(theirs)
    with pytest.raises(CommandError, match=f"unfinished network and {name}"):
        create_network(place.directory, Plan(), print)
    assert (theirs / "kept").exists()


def test_directory_with_what_a_killed_write_left_is_free(place: NetworkPlace) -> None:
    (place.directory / LOCK_FILE).touch()
    left = place.directory / f".{UNFINISHED}.0123456789abcdef.tmp"
    left.touch()
    check_directory(place.directory)
    write_unfinished(without_parts(place), Plan())
    (place.directory / ".deployment.json.0123456789abcdef.tmp").touch()
    check_directory(place.directory)


def test_network_that_is_finished_is_never_taken_for_an_unfinished_one(place: NetworkPlace) -> None:
    """Killed between its last two steps, it has both descriptions."""
    write_unfinished(place, Plan())
    write_network(place)
    assert find_unfinished(place.directory) is None
    with pytest.raises(CommandError, match="not empty"):
        check_directory(place.directory)
    start_network(without_parts(place), print)
    assert not (place.directory / UNFINISHED).exists()


@pytest.mark.parametrize(
    ("words", "naming"),
    [
        (("network", "up"), "`phr network up DIRECTORY`"),
        (("network", "status"), "`phr network status DIRECTORY`"),
        (("network", "down"), "`phr network down DIRECTORY`"),
        (("admin", "members"), "--network"),
    ],
)
def test_command_without_a_network_says_how_it_is_told_one(
    tmp_path: Path, words: tuple[str, ...], naming: str
) -> None:
    done = run_phr(*words, environment={"PHR_NETWORK": str(tmp_path / "none")})
    assert done.exit_code == ExitCode.NOT_FOUND
    assert done.line.endswith(f"or name it with {naming}")
