"""PostgreSQL as a process of this machine: who gets in, what its log says, and what survives its ends."""

import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from crypto.errors import KeyfileError
from engines import EngineFailed, EnginesError
from engines.postgres import PostgresServer, create_cluster, remove_cluster

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    directory = tmp_path_factory.mktemp("server") / "postgres"
    made = create_cluster(directory)
    made.start()
    yield made
    remove_cluster(directory)
    assert not directory.exists()


def password_file(directory: Path, name: str) -> Path:
    return directory / f"{name}.pgpass"


def test_member_gets_into_its_own_database_and_into_no_other(server: PostgresServer, tmp_path: Path) -> None:
    own = server.create_database("seoul", password_file(tmp_path, "seoul"))
    other = server.create_database("busan", password_file(tmp_path, "busan"))
    with create_engine(own).connect() as connection:
        found = connection.execute(text("SELECT current_user, current_database()")).one()
    assert tuple(found) == ("seoul", "seoul")
    for database in ("seoul", "postgres", "template1"):
        with pytest.raises(OperationalError, match=r"no pg_hba\.conf entry"):
            create_engine(make_url(other).set(database=database)).connect()


def test_attack_member_without_its_password_is_refused(server: PostgresServer, tmp_path: Path) -> None:
    url = make_url(server.create_database("jeju", password_file(tmp_path, "jeju")))
    nothing = url.difference_update_query(["passfile"])
    with pytest.raises(OperationalError, match="no password supplied"):
        create_engine(nothing.update_query_dict({"passfile": "/dev/null"})).connect()
    with pytest.raises(OperationalError, match="password authentication failed"):
        create_engine(nothing.set(password="guessed")).connect()


def test_attack_member_is_no_administrator(server: PostgresServer, tmp_path: Path) -> None:
    engine = create_engine(server.create_database("lab", password_file(tmp_path, "lab")))
    for statement in ("CREATE ROLE more", "CREATE DATABASE more", "COPY (SELECT 1) TO PROGRAM 'id'"):
        with engine.connect() as connection, pytest.raises(ProgrammingError, match=r"denied|privileges"):
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text(statement))


def test_server_listens_on_no_network_and_shows_no_password(server: PostgresServer, tmp_path: Path) -> None:
    file = password_file(tmp_path, "clinic")
    server.create_database("clinic", file)
    password = file.read_text().strip().split(":")[-1]
    postmaster = server.process()
    assert postmaster is not None
    assert postmaster.uids().real != 0
    assert not [one for one in psutil.net_connections("inet") if one.pid == postmaster.pid]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.socket_directory.stat().st_mode) == 0o700
    for process in [postmaster, *postmaster.children()]:
        assert password not in " ".join(process.cmdline())
    assert password not in server.log_path.read_text()


def test_password_file_that_others_may_read_is_refused(server: PostgresServer, tmp_path: Path) -> None:
    file = password_file(tmp_path, "open")
    file.write_text("*:*:open:open:secret\n")
    file.chmod(0o644)
    with pytest.raises(KeyfileError):
        server.create_database("open", file)


def test_log_shows_no_value_of_a_row(server: PostgresServer, tmp_path: Path) -> None:
    engine = create_engine(server.create_database("quiet", password_file(tmp_path, "quiet")))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE numbers (value text PRIMARY KEY)"))
        connection.execute(text("INSERT INTO numbers VALUES (:value)"), {"value": "MRN-SENSITIVE-1"})
    with pytest.raises(IntegrityError, match="duplicate key"), engine.begin() as connection:
        connection.execute(text("INSERT INTO numbers VALUES (:value)"), {"value": "MRN-SENSITIVE-1"})
    words = server.log_path.read_text()
    assert "duplicate key" in words
    assert "SENSITIVE" not in words


def test_making_all_again_finds_it_and_keeps_what_is_there(server: PostgresServer, tmp_path: Path) -> None:
    file = password_file(tmp_path, "again")
    url = server.create_database("again", file)
    with create_engine(url).begin() as connection:
        connection.execute(text("CREATE TABLE kept (value integer)"))
    file.unlink()
    assert server.create_database("again", file) == url
    assert PostgresServer.open(server.directory) == server
    assert create_cluster(server.directory) == server
    with create_engine(url).connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM kept")).scalar_one() == 0


def test_start_by_several_at_once_starts_one_and_all_find_it_ready(server: PostgresServer) -> None:
    server.stop()
    with ThreadPoolExecutor(4) as pool:
        for start in [pool.submit(server.start) for _ in range(4)]:
            start.result(120)
    assert server.is_ready()


@pytest.mark.parametrize("end", ["stop", "kill", "kill_postmaster"])
def test_what_was_committed_is_there_after_every_kind_of_end(
    server: PostgresServer, tmp_path: Path, end: str
) -> None:
    url = server.create_database(f"ends_{end}", password_file(tmp_path, end))
    engine = create_engine(url, pool_pre_ping=True)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE kept (value integer)"))
        connection.execute(text("INSERT INTO kept VALUES (7)"))
    assert getattr(server, end)() is True
    assert (server.process(), server.is_ready(), getattr(server, end)()) == (None, False, False)
    server.start()
    server.start()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT value FROM kept")).scalar_one() == 7


@pytest.mark.parametrize("name", ["", "Seoul", "seoul-hospital", 'x"; DROP ROLE y; --', "x" * 64, "1st"])
def test_name_that_is_none_is_refused(server: PostgresServer, tmp_path: Path, name: str) -> None:
    with pytest.raises(EnginesError, match="lower-case letters"):
        server.create_database(name, tmp_path / "file")


def test_directory_that_is_anothers_is_refused_and_said(tmp_path: Path) -> None:
    place = tmp_path / "postgres"
    place.mkdir()
    place.chmod(0o755)
    (place / "file").touch()
    with pytest.raises(EngineFailed, match="mode 0700"):
        create_cluster(place)


def test_cluster_in_a_place_with_a_long_path_is_reached(tmp_path: Path) -> None:
    place = tmp_path / ("d" * 60) / ("e" * 60)
    server = create_cluster(place)
    try:
        server.start()
        with server.administrator() as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
    finally:
        remove_cluster(place)


def test_opening_a_directory_without_a_cluster_says_so(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="there is none"):
        PostgresServer.open(tmp_path)
