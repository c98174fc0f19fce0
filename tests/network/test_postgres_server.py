"""PostgreSQL as a process of this machine: who gets in, what its log says, and what survives its ends."""

import os
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError
from structlog.testing import capture_logs

from crypto.errors import KeyfileError
from engines import EngineFailed, EnginesError
from engines.postgres import PostgresServer
from engines.postgres_cluster import create_cluster, remove_cluster
from node.database import Database
from node.database_postgres import engine_options

pytestmark = pytest.mark.network
DEPLOY = Path(__file__).parents[2] / "deploy"


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


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server as an installation leaves it: its log shows what an error was about."""
    directory = tmp_path_factory.mktemp("usual") / "postgres"
    made = create_cluster(directory)
    made.start()
    with made.administrator() as connection:
        for name, value in (("log_error_verbosity", "default"), ("log_min_error_statement", "error")):
            connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")  # type: ignore[arg-type]
    made.restart()
    yield made
    remove_cluster(directory)


@pytest.fixture(scope="module")
def node_url(talkative: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> URL:
    """The node's database as the container's first start makes it, by the same script."""
    secret = tmp_path_factory.mktemp("secret") / "node-database-password"
    secret.write_text("a password's secret\n")
    environment = {
        "PATH": f"{talkative.binaries}:{os.defpath}",
        "PGHOST": str(talkative.socket_directory),
        "NODE_SQL_FOLDER": str(DEPLOY / "postgres"),
        "NODE_PASSWORD_FILE": str(secret),
    }
    script = DEPLOY / "compose" / "postgres-node.sh"
    done = subprocess.run([script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return URL.create(
        "postgresql+psycopg",
        "phr_node",
        "a password's secret",
        database="phr_node",
        query={"host": str(talkative.socket_directory)},
    )


def test_node_database_of_the_container_is_its_own_and_shows_no_value_in_the_log(
    talkative: PostgresServer, node_url: URL
) -> None:
    engine = create_engine(node_url, **engine_options(node_url))
    with engine.begin() as connection:
        assert connection.execute(text("SHOW is_superuser")).scalar_one() == "off"
        connection.execute(text("CREATE TABLE numbers (value text PRIMARY KEY)"))
        connection.execute(text("INSERT INTO numbers VALUES (:value)"), {"value": "MRN-SENSITIVE-2"})
    with pytest.raises(IntegrityError, match="duplicate key"), engine.begin() as connection:
        connection.execute(text("INSERT INTO numbers VALUES (:value)"), {"value": "MRN-SENSITIVE-2"})
    words = talkative.log_path.read_text()
    assert "duplicate key" in words
    assert "SENSITIVE" not in words
    assert "secret" not in words
    for statement in ("CREATE ROLE more", "CREATE DATABASE more", "COPY (SELECT 1) TO PROGRAM 'id'"):
        with engine.connect() as connection, pytest.raises(ProgrammingError, match=r"denied|privileges"):
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text(statement))


def test_node_that_is_a_superuser_or_whose_server_logs_values_says_so_when_it_starts(
    talkative: PostgresServer, node_url: URL
) -> None:
    def warnings() -> list[str]:
        database = Database(node_url.render_as_string(hide_password=False))
        try:
            with capture_logs() as logged:
                database.migrate()
        finally:
            database.close()
        return [str(one["event"]) for one in logged if one["log_level"] == "warning"]

    assert warnings() == []
    with talkative.administrator() as connection:
        connection.execute("ALTER ROLE phr_node SUPERUSER")
        connection.execute("ALTER DATABASE phr_node RESET ALL")
    try:
        superuser, values = warnings()
        assert "is a superuser" in superuser
        assert "logs values of rows" in values
    finally:
        with talkative.administrator() as connection:
            connection.execute("ALTER ROLE phr_node NOSUPERUSER")


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
