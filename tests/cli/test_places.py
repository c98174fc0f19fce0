"""Where networks, members and wallets lie; files that are written whole; processes known by more than a number."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.exporting import write_rows
from cli.failures import exit_code_of
from cli.json_files import read_json
from cli.network_plan import Plan, PlannedMember, parse_member
from cli.network_setup import create_network
from cli.places import MemberPlace, find_network, read_network
from cli.saving import check_directory, check_new_file, save
from cli.staff_client import read_token, refusal
from engines.errors import EngineFailed
from engines.processes import Background, wait_for
from vocabulary import Role

MEMBERS = [
    {
        "name": "서울병원",
        "directory": "members/서울병원",
        "endpoint": "http://127.0.0.1:1",
        "runs_node": True,
    },
    {"name": "Authority", "directory": "members/authority", "endpoint": "", "runs_node": False},
]


def _network(directory: Path, **changes: object) -> Path:
    directory.mkdir(exist_ok=True)
    document = {"chain": {"engine": "anvil", "url": "http://127.0.0.1:2"}, "members": MEMBERS} | changes
    (directory / "network.json").write_text(json.dumps(document))
    return directory


def test_find_network_takes_what_is_named_then_the_environment_then_what_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, other, here = (_network(tmp_path / name) for name in ("named", "other", "here"))
    monkeypatch.chdir(here)
    monkeypatch.delenv("PHR_NETWORK", raising=False)
    assert find_network(None).directory == here
    monkeypatch.setenv("PHR_NETWORK", str(other))
    assert find_network(None).directory == other
    assert find_network(named).directory == named


def test_find_network_where_there_is_none_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="phr network up") as refused:
        find_network(tmp_path)
    assert refused.value.exit_code is ExitCode.NOT_FOUND


@pytest.mark.parametrize("changes", [{"members": [{}]}, {"members": 7}, {"chain": []}, {"members": [["x"]]}])
def test_read_network_of_another_shape_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(CommandError, match="not a network's description") as refused:
        read_network(_network(tmp_path / "n", **changes))
    assert refused.value.exit_code is ExitCode.BAD_INPUT


def test_member_with_keys_only_has_no_node_to_ask(tmp_path: Path) -> None:
    place = read_network(_network(tmp_path / "n"))
    assert isinstance(place.member("auth"), MemberPlace)
    with pytest.raises(CommandError, match="runs no node") as refused:
        place.member_with_node("auth")
    assert refused.value.exit_code is ExitCode.REFUSED


def test_wallet_path_of_a_name_stays_below_the_network(tmp_path: Path) -> None:
    place = read_network(_network(tmp_path / "n"))
    for name in ("김민지", "..", "Lee Seo-yeon", "~root"):
        try:
            path = place.wallet_path(name)
        except CommandError:
            continue
        assert path.resolve().is_relative_to(place.wallets_directory.resolve())


@given(st.binary(max_size=64))
def test_read_json_of_any_bytes_is_an_object_or_refused(content: bytes) -> None:
    path = Path(os.devnull).parent / "shm" / f"phr-{os.getpid()}.json"
    path.write_bytes(content)
    try:
        assert isinstance(read_json(path), dict)
    except ValueError:
        pass
    finally:
        path.unlink()


def test_save_never_follows_a_link_and_leaves_no_part_behind(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("mine")
    link.symlink_to(target)
    with pytest.raises(CommandError, match="exists"):
        check_new_file(link)
    with pytest.raises(Exception, match="symbolic link"):
        save(link, b"yours")
    assert target.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "target"]


def test_check_of_a_place_that_cannot_be_written_says_which(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no directory"):
        check_new_file(tmp_path / "none" / "file")
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="expected a directory"):
        check_directory(tmp_path / "file")
    check_directory(tmp_path / "new")
    assert not (tmp_path / "new").exists()


ROWS = [
    {"time": 1, "requester": "=HYPERLINK(1)", "id": b"\x01", "ok": True},
    {"time": 2, "requester": "서울병원", "id": b"\x02", "ok": False},
]


@pytest.mark.parametrize("ending", ["csv", "json", "parquet"])
@pytest.mark.parametrize("count", [0, 2])
def test_write_rows_in_each_format_holds_all_of_them(tmp_path: Path, ending: str, count: int) -> None:
    path = tmp_path / f"rows.{ending}"
    write_rows(path, list(ROWS[0]), ROWS[:count])
    assert path.stat().st_mode & 0o777 == 0o600
    if ending == "parquet":
        table = parquet.read_table(path)
        assert (table.num_rows, table.column_names) == (count, list(ROWS[0]))
    elif ending == "json":
        assert [row["id"] for row in json.loads(path.read_bytes())] == ["0x01", "0x02"][:count]
    else:
        assert path.read_text().splitlines()[0] == "time,requester,id,ok"
        assert ("'=HYPERLINK(1)" in path.read_text()) == bool(count)


def test_background_starts_once_stops_and_tells_its_last_words(tmp_path: Path) -> None:
    background = Background(tmp_path, "worker")
    command = [sys.executable, "-c", "print('ready', flush=True); import time; time.sleep(600)"]
    first = background.start(command)
    assert background.start(command) == first
    wait_for(background, lambda: background.last_words() == "ready", 120)
    assert background.stop() is True
    assert not first.is_running()


def test_wait_for_a_process_that_ends_says_its_last_words(tmp_path: Path) -> None:
    background = Background(tmp_path, "worker")
    background.start([sys.executable, "-c", "print('no room left', flush=True)"])
    with pytest.raises(EngineFailed, match=r"no room left.*worker\.log") as refused:
        wait_for(background, lambda: False, 120)
    assert exit_code_of(refused.value) is ExitCode.UNREACHABLE


def test_parse_member_as_name_and_roles() -> None:
    assert parse_member(" 서울병원 = provider, custodian") == PlannedMember(
        "서울병원", (Role.PROVIDER, Role.CUSTODIAN)
    )
    for text in ("서울병원", "=provider", "x=king"):
        with pytest.raises(CommandError) as refused:
            parse_member(text)
        assert refused.value.exit_code is ExitCode.USAGE


def test_create_network_with_too_few_custodians_or_in_a_used_directory_leaves_it_alone(
    tmp_path: Path,
) -> None:
    custodian = (Role.CUSTODIAN,)
    (tmp_path / "mine").write_text("mine")
    one, two = PlannedMember("A", custodian), PlannedMember("B", custodian)
    for members, said in (((one,), "custodians"), ((one, one), "different names"), ((one, two), "not empty")):
        with pytest.raises(CommandError, match=said):
            create_network(tmp_path, Plan(members, 2), say=print)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_read_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("secret-token\n")
    assert read_token(token) == "secret-token"
    token.chmod(0o644)
    with pytest.raises(CommandError, match="chmod 600") as refused:
        read_token(token)
    assert "secret-token" not in str(refused.value)
    with pytest.raises(CommandError, match="no staff token"):
        read_token(tmp_path / "none")


def test_refusal_of_a_node_is_its_own_words_or_its_number() -> None:
    problem = b'{"title":"Not found","status":404,"detail":"no such patient","code":"not-found"}'
    assert refusal(404, problem).exit_code is ExitCode.NOT_FOUND
    assert "no such patient" in str(refusal(404, problem))
    assert "418" in str(refusal(418, b"<html>"))


def test_chain_keeper_without_arguments_says_what_it_expects() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "cli.chain_keeper"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "directory" in done.stderr
