"""Migrations: old databases go on with all they have, two programs never meet in one, newer ones are refused."""

import contextlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from database_fixtures import TestDatabase, new_database_url
from node_fixtures import Network
from node_offline import offline_node
from records_flow import Case, observation
from sqlalchemy import insert, inspect, select, text

from node import migrations
from node.config import NodeConfig
from node.database import Database, TakenOver
from node.errors import ConfigurationError
from node.node import Node
from node.schema import metadata
from node.tables import backups, schema_version
from node.tables_custody import block_references, deposits

BEFORE = Path(__file__).with_name("schema-1.sql")


def columns_before() -> dict[str, str]:
    """The columns of each table that programs of before migrations made."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(BEFORE.read_text())
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            name: ", ".join(f'"{row[1]}"' for row in connection.execute(f"PRAGMA table_info({name})"))
            for (name,) in tables
            if name != schema_version.name
        }


def rows_of(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, without what later versions added."""
    with database.read() as connection:
        return {
            table: sorted(
                (tuple(row) for row in connection.execute(text(f'SELECT {columns} FROM "{table}"'))), key=repr
            )
            for table, columns in columns_before().items()
        }


@pytest.fixture
def old(tmp_path: Path) -> Database:
    """A database that a program of before migrations wrote."""
    path = tmp_path / "node.db"
    connection = sqlite3.connect(path)
    connection.executescript(BEFORE.read_text())
    connection.close()
    return Database(f"sqlite:///{path}")


def test_database_of_before_migrations_is_adopted_with_every_row(old: Database) -> None:
    before = rows_of(old)
    assert {len(rows) for rows in before.values()} == {3}
    old.migrate()
    assert rows_of(old) == before
    with old.read() as connection:
        assert migrations.current(connection) == migrations.newest()
        sizes = connection.execute(select(backups.c.sealed, backups.c.size_bytes)).all()
    assert [row.size_bytes for row in sizes] == [len(row.sealed) for row in sizes]


def test_database_that_was_adopted_is_refused_by_programs_of_before_migrations(old: Database) -> None:
    old.migrate()
    with old.read() as connection:
        # They ask for version 1 in this table, and end when they find another.
        assert connection.execute(select(schema_version.c.version)).scalars().all() == [2]


def test_schema_of_the_baseline_is_what_those_programs_made(old: Database, tmp_path: Path) -> None:
    def tables_of(database: Database) -> dict[str, Any]:
        with database.read() as connection:
            look = inspect(connection)
            return {
                name: (
                    [(one["name"], str(one["type"]), one["nullable"]) for one in look.get_columns(name)],
                    look.get_pk_constraint(name)["constrained_columns"],
                    sorted((one["name"], tuple(one["column_names"])) for one in look.get_indexes(name)),
                    sorted(tuple(one["column_names"]) for one in look.get_unique_constraints(name)),
                )
                for name in look.get_table_names()
                if name != "alembic_version"
            }

    fresh = Database(f"sqlite:///{tmp_path / 'fresh.db'}")
    with fresh.begin() as connection:
        migrations.upgrade(connection, "0001")
    assert tables_of(fresh) == tables_of(old)


def test_migrations_make_what_the_metadata_says(new_database: Database) -> None:
    with new_database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": False})
        assert compare_metadata(context, metadata) == []


def test_migrating_again_changes_nothing(new_database: Database) -> None:
    before = rows_of(new_database)
    new_database.migrate()
    assert rows_of(new_database) == before


def test_every_version_leads_to_the_next(empty_database: Database) -> None:
    with empty_database.begin() as connection:
        migrations.upgrade(connection, "0001")
    with empty_database.begin() as connection:
        assert migrations.current(connection) == "0001"
        connection.execute(
            text("INSERT INTO backups (locator, version, sealed) VALUES (:locator, 1, :sealed)"),
            {"locator": bytes(32), "sealed": b"sealed"},
        )
    empty_database.migrate()
    with empty_database.read() as connection:
        assert connection.execute(select(backups.c.size_bytes)).scalar_one() == 6


def test_database_of_a_newer_program_is_refused_and_unchanged(new_database: Database) -> None:
    with new_database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(
        ConfigurationError, match=f"{migrations.newest()} or older; came 9999: run the version"
    ):
        new_database.migrate()
    with new_database.read() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"


def test_database_of_an_unknown_version_before_migrations_is_refused(old: Database) -> None:
    with old.begin() as connection:
        connection.execute(schema_version.update().values(version=7))
    with pytest.raises(ConfigurationError, match=r"schema version 1.*came \[7\]"):
        old.migrate()


@pytest.mark.parametrize("versions", [[], [1]])
def test_attack_database_of_another_program_with_such_a_table_is_refused_and_unchanged(
    empty_database: TestDatabase, versions: list[int]
) -> None:
    with empty_database.begin() as connection:
        connection.execute(text("CREATE TABLE schema_version (version INTEGER PRIMARY KEY)"))
        for version in versions:
            connection.execute(schema_version.insert().values(version=version))
    with pytest.raises(ConfigurationError, match="without accesses, backups"):
        empty_database.migrate()
    with empty_database.read() as connection:
        assert inspect(connection).get_table_names() == ["schema_version"]


def test_migration_that_fails_leaves_the_old_version_whole(
    old: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = rows_of(old)
    # An index of this name stands in the way of the last step but one, after tables were changed already.
    with old.begin() as connection:
        connection.execute(text("CREATE INDEX backups_by_size ON backups (version)"))
    with pytest.raises(ConfigurationError):
        old.migrate()
    assert rows_of(old) == before
    with old.begin() as connection:
        assert migrations.current(connection) is None
        connection.execute(text("DROP INDEX backups_by_size"))
    old.migrate()
    assert rows_of(old) == before


_MIGRATE = """
import sys
from node.database import Database
sys.stdin.readline()
Database(sys.argv[1]).migrate()
"""


def test_processes_that_migrate_at_once_do_it_once(empty_database: Database) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _MIGRATE, empty_database.url],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    ended = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
    assert ended == [("", 0)] * 3
    with empty_database.read() as connection:
        assert migrations.current(connection) == migrations.newest()
        assert connection.execute(select(schema_version.c.version)).scalars().all() == [2]


def test_node_restarts_into_the_migrated_schema_with_all_that_it_had(
    network: Network, tmp_path_factory: pytest.TempPathFactory
) -> None:
    case = Case.begin(network)
    published = case.publish()
    case.grant(network.members[1])
    member = case.provider
    member.node.stop()
    before = Database(member.node.config.database)
    former = TestDatabase(new_database_url(tmp_path_factory.mktemp("former"), empty=True))
    with former.begin() as connection, before.read() as reader:
        migrations.upgrade(connection, "0001")
        for table, columns in columns_before().items():
            rows = reader.execute(text(f'SELECT {columns} FROM "{table}"')).mappings().all()
            if rows:
                into = metadata.tables[table].insert()
                connection.execute(into, [dict(row) for row in rows])
    with former.read() as connection:
        assert migrations.current(connection) == "0001"
    former.close()
    before.close()
    settings = member.directory / "node.toml"
    lines = [line for line in settings.read_text().splitlines() if not line.startswith("database_url")]
    settings.write_text("\n".join([*lines, f"database_url = {json.dumps(former.url)}", ""]))
    member.restart()
    with former.read() as connection:
        assert migrations.current(connection) == migrations.newest()
    read = case.read(network.members[1])
    assert [record.record_id for record in read.records] == [one.record_id for one in published.records]
    answer = member.call("GET", "/staff/patients", staff=True)
    assert case.patient.address.hex() in answer.text
    assert case.publish(observation(6.1)).state == "published"


def test_node_on_an_empty_database_makes_its_schema_at_the_start(
    tmp_path: Path, empty_database: TestDatabase
) -> None:
    offline_node(tmp_path).stop()
    settings = tmp_path / "node" / "node.toml"
    lines = [line for line in settings.read_text().splitlines() if not line.startswith("database_url")]
    settings.write_text("\n".join([*lines, f"database_url = {json.dumps(empty_database.url)}", ""]))
    made = Node(NodeConfig.load(settings.parent))
    with empty_database.read() as connection:
        assert migrations.current(connection) is None
    with made, empty_database.read() as connection:
        assert migrations.current(connection) == migrations.newest()


def test_second_start_beside_a_running_node_leaves_its_schema_alone(network: Network) -> None:
    member = network.members[1]
    with member.node.database.append() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0003'"))
    with pytest.raises(ConfigurationError, match="runs already"):
        Node(NodeConfig.load(member.directory)).start()
    with member.node.database.append() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "0003"
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{migrations.newest()}'"))


def test_references_that_no_deposit_stands_behind_end_with_the_fourth_version(
    empty_database: TestDatabase,
) -> None:
    with empty_database.begin() as connection:
        migrations.upgrade(connection, "0003")
        references = [{"cid": "bafk", "holder": bytes(32)}, {"cid": "bafk", "holder": b"h" * 32}]
        connection.execute(insert(block_references), references)
        columns = {column.name: column.type.python_type() for column in deposits.c}
        connection.execute(insert(deposits).values(columns | {"header_digest": b"h" * 32}))
    empty_database.migrate()
    with empty_database.read() as connection:
        assert connection.scalars(select(block_references.c.holder)).all() == [b"h" * 32]


def test_node_that_waits_for_its_ledger_ends_when_its_database_is_anothers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else is under way, and however long it takes."""
    node = offline_node(tmp_path)

    def taken_over() -> None:
        raise TakenOver("another process")

    with node:
        assert not node.ended.is_set()
        monkeypatch.setattr(node.database, "claim", taken_over)
        assert node.ended.wait(60)
        assert isinstance(node.failed, TakenOver)
