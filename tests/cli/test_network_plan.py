"""What `phr network up` is asked for: engines, members, and what it refuses before it writes anything."""

import json
from pathlib import Path

import pytest
from phr_commands import run_phr

from cli import network_setup
from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.network_plan import BFT, DEFAULT_MEMBERS, EngineChoice, Plan, parse_member
from cli.network_setup import create_network, database_name
from cli.places import MemberPlace, NetworkPlace, describe_network, read_network
from vocabulary import Role

CUSTODIAN = "provider,consumer,custodian"


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--engine", "ethereum", "anvil or bft"),
        ("--storage", "s3", "embedded or kubo"),
        ("--database", "mysql", "sqlite or postgres"),
        ("--threshold", "1", "--threshold"),
        ("--member", "Seoul=king", "king"),
    ],
)
def test_network_up_with_a_bad_option_says_what_is_known_and_writes_nothing(
    tmp_path: Path, option: str, value: str, said: str
) -> None:
    done = run_phr("network", "up", tmp_path / "n", option, value, "--json")
    assert (done.exit_code, done.document["kind"]) == (ExitCode.USAGE, "usage")
    assert said in done.line
    assert not (tmp_path / "n").exists()


@pytest.mark.parametrize(("option", "value"), [("--engine", "bft"), ("--storage", "kubo")])
def test_network_up_where_an_engine_is_not_built_says_how_to_build_it_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, value: str
) -> None:
    monkeypatch.setattr(network_setup, "PROJECT", tmp_path / "a-fresh-clone")
    done = run_phr("network", "up", tmp_path / "n", option, value)
    assert done.exit_code == ExitCode.NOT_FOUND
    assert "./scripts/network build" in done.line
    assert not (tmp_path / "n").exists()


def test_engines_that_were_not_asked_for_are_the_embedded_ones() -> None:
    assert EngineChoice().completed() == ("anvil", "embedded", "sqlite")
    assert EngineChoice(storage="kubo").completed() == ("anvil", "kubo", "sqlite")


def test_engines_of_a_network_that_is_there_cannot_be_changed_by_asking(tmp_path: Path) -> None:
    place = NetworkPlace(tmp_path, "anvil", ("http://127.0.0.1:1",), ())
    EngineChoice().check_made(place)
    EngineChoice("anvil", "embedded", "sqlite").check_made(place)
    for asked in (
        EngineChoice(engine="bft"),
        EngineChoice(storage="kubo"),
        EngineChoice(database="postgres"),
    ):
        with pytest.raises(CommandError, match="was made with anvil, embedded, sqlite") as refused:
            asked.check_made(place)
        assert refused.value.exit_code is ExitCode.USAGE


@pytest.mark.parametrize("count", [1, 2, 4, 6])
def test_validators_are_one_a_member_and_four_at_least(count: int) -> None:
    members = tuple(parse_member(f"Member {number}={CUSTODIAN}") for number in range(count))
    names = Plan(members, engine=BFT).validators()
    assert len(names) == count
    assert all(names)
    flat = [name for own in names for name in own]
    assert len(flat) == len(set(flat)) == max(4, count)
    assert not any(Plan(members).validators())


def test_description_of_a_network_is_read_as_it_was_written(tmp_path: Path) -> None:
    own = tmp_path / "members" / "seoul"
    elsewhere = Path("/srv/busan")
    place = NetworkPlace(
        tmp_path,
        "bft",
        ("http://127.0.0.1:1", "http://127.0.0.1:2"),
        (
            MemberPlace("Seoul", own, "http://127.0.0.1:3", True, ("seoul", "seoul-2"), own / "kubo"),
            MemberPlace("Busan", elsewhere, "", False),
        ),
        keeps_chain=False,
        has_postgres=True,
    )
    (tmp_path / "network.json").write_text(json.dumps(describe_network(place)))
    assert read_network(tmp_path) == place


def test_description_of_the_first_schema_still_works_and_a_later_one_is_refused(tmp_path: Path) -> None:
    members = [
        {"name": "One", "directory": "members/one", "endpoint": "http://127.0.0.1:1", "runs_node": True}
    ]
    first = {"chain": {"engine": "anvil", "url": "http://127.0.0.1:2"}, "members": members}
    (tmp_path / "network.json").write_text(json.dumps(first))
    place = read_network(tmp_path)
    assert (place.rpc_urls, place.keeps_chain, place.has_postgres) == (("http://127.0.0.1:2",), True, False)
    assert place.members[0].kubo_directory is None
    (tmp_path / "network.json").write_text(json.dumps(first | {"schema": 99}))
    with pytest.raises(CommandError, match="99"):
        read_network(tmp_path)


def test_names_of_databases_differ_and_are_what_postgresql_takes() -> None:
    members = ["서울병원", "부산병원", "Hôpital d'Évian", "x" * 200]
    names = [database_name(member, members) for member in members]
    assert len(set(names)) == len(names)
    assert all(name.isascii() and len(name) <= 63 and name == name.lower() for name in names)
    assert all(name.replace("_", "a").isalnum() for name in names)


def test_network_is_not_made_in_a_file_or_a_used_directory(tmp_path: Path) -> None:
    file, used = tmp_path / "file", tmp_path / "used"
    file.write_text("mine")
    used.mkdir()
    (used / "mine").touch()
    for directory in (file, used):
        with pytest.raises(CommandError) as refused:
            create_network(directory, Plan(), say=print)
        assert refused.value.exit_code is ExitCode.BAD_INPUT
    assert [path.name for path in used.iterdir()] == ["mine"]


def test_default_members_make_a_network() -> None:
    Plan(DEFAULT_MEMBERS, engine=BFT).check()
    assert sum(Role.CUSTODIAN in member.roles for member in DEFAULT_MEMBERS) == 3
