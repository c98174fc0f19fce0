"""What a node asks of its PostgreSQL, and what its operator does with it: refuse an unsafe one, dump and restore."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from node_fixtures import Network, start_network
from records_flow import Case
from sqlalchemy import make_url

from engines.postgres import PostgresServer
from engines.postgres_cluster import create_cluster, remove_cluster
from node.database import Database
from node.errors import ConfigurationError
from node.local_verify import local_check

pytestmark = pytest.mark.network


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    directory = tmp_path / "postgres"
    made = create_cluster(directory)
    made.start()
    yield made
    remove_cluster(directory)


def test_server_that_would_lose_what_it_acknowledged_is_refused(
    server: PostgresServer, tmp_path: Path
) -> None:
    url = server.create_database("node", tmp_path / "node.pgpass")
    with server.administrator() as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
    server.restart()
    with pytest.raises(ConfigurationError, match="fsync = on; came off"):
        Database(url).migrate()


def test_session_that_would_lose_what_it_acknowledged_is_made_durable(
    server: PostgresServer, tmp_path: Path
) -> None:
    url = server.create_database("node", tmp_path / "node.pgpass")
    with server.administrator() as connection:
        connection.execute("ALTER ROLE node SET synchronous_commit = off")
    database = Database(url)
    for transaction in (database.begin, database.append):
        with transaction() as connection:
            assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
    database.close()


def test_database_that_keeps_no_utf8_is_refused(server: PostgresServer, tmp_path: Path) -> None:
    file = tmp_path / "node.pgpass"
    server.create_database("node", file)
    with server.administrator() as connection:
        connection.execute("DROP DATABASE node")
        connection.execute("CREATE DATABASE node OWNER node ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    with pytest.raises(ConfigurationError, match="server_encoding = UTF8; came LATIN1"):
        Database(server.url("node", file)).migrate()


def test_dump_of_a_running_nodes_database_restores_to_a_sound_node(
    server: PostgresServer, tmp_path: Path
) -> None:
    def database_url(place: Path) -> str:
        name = "member_" + place.name.replace("-", "_")
        return server.create_database(name, tmp_path / f"{name}.pgpass")

    place = tmp_path / "network"
    place.mkdir()
    network: Network = start_network(place, database_url=database_url)
    try:
        case = Case.begin(network)
        case.publish()
        case.grant(network.members[1])
        member = network.members[0]
        url = make_url(member.node.config.database)
        dump = tmp_path / "node.dump"
        environment = {"PGPASSFILE": str(url.query["passfile"]), "PGHOST": str(url.query["host"])}
        role = ["-U", str(url.username)]
        command = [server.binaries / "pg_dump", *role, "-Fc", "-f", dump, str(url.database)]
        subprocess.run(command, env=environment, check=True)
        # What is published after the dump is on the ledger and with the others; the node reads it there again.
        later = case.publish()
        member.node.stop()
        with server.administrator() as connection:
            connection.execute(f'DROP DATABASE "{url.database}"')
            connection.execute(f'CREATE DATABASE "{url.database}" OWNER "{url.username}"')
        restore = [server.binaries / "pg_restore", *role, "-d", str(url.database), "--exit-on-error", dump]
        subprocess.run(restore, env=environment, check=True)
        member.restart()
        network.wait_for_all()
        snapshot = member.node.ledger.snapshot()
        assert {one.record_id for one in later.records} <= set(snapshot.state.records)
        block = network.chain.block(snapshot.final.number)
        assert local_check(member.directory)(snapshot.state, block) is None
        assert len(case.read(network.members[1]).records) == 2
    finally:
        network.stop()
