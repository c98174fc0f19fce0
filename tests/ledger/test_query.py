"""SQL over a replay: what people ask, and what an attacker's SQL must not reach."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_ledger import RawLedger

from ledger import query as query_module
from ledger.errors import QueryRefused
from ledger.query import query
from ledger.replay import replay
from ledger.tables import TABLE_NAMES

SECRET = "s3cret-of-another-file"


@pytest.fixture(scope="module")
def directory(raw_ledger: RawLedger, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("query") / "a [strange] 'name'*"
    replay(raw_ledger.world.chain, raw_ledger.world.deployment, target)
    return target


def test_query_returns_columns_and_rows_as_python_values(raw_ledger: RawLedger, directory: Path) -> None:
    found = query(
        directory,
        "SELECT m.name, a.reason, count(*) AS times, sum(sequence) AS total, min(a.time) AS first "
        "FROM accesses a JOIN members m ON m.member = a.requester GROUP BY ALL ORDER BY times DESC, reason",
    )
    assert found.columns == ("name", "reason", "times", "total", "first")
    name, _reason, times, total, first = found.rows[0]
    assert (name, type(times), type(total)) == ("서울 의원 'O\"Brien'", int, int)
    assert isinstance(first, datetime)
    assert first.utcoffset() == UTC.utcoffset(None)
    assert (
        sum(row[2] for row in found.rows)
        == raw_ledger.world.contract.access_words([raw_ledger.patient.address])[0] % 2**32
    )


@pytest.mark.parametrize("name", TABLE_NAMES)
def test_every_table_can_be_read_whole(directory: Path, name: str) -> None:
    found = query(directory, f"SELECT * FROM {name}")
    stored = parquet.read_table(directory / f"{name}.parquet")
    assert found.columns == tuple(stored.column_names)
    assert len(found.rows) == stored.num_rows > 0


@pytest.mark.parametrize(
    "sql",
    [
        "FROM Accesses SELECT count(*)",
        "WITH x AS (SELECT 1 AS one) SELECT * FROM x",
        "DESCRIBE accesses",
        "SHOW TABLES",
        "SUMMARIZE records",
        "SELECT DATE_TRUNC('month', time), count(*) FROM accesses GROUP BY 1",
        "SELECT r.category FROM records r WHERE r.end_day >= DATE '1900-01-01';",
        "SELECT c.purposes[1], len(c.categories), 1 AS c, 2 AS c FROM consents c",
        "-- a comment\nSELECT NULL, 1.5, 'a', TRUE, [1], {'a': 1}, INTERVAL 1 DAY, 'x'::BLOB",
    ],
)
def test_ordinary_queries_are_answered(directory: Path, sql: str) -> None:
    assert query(directory, sql).rows


def test_show_tables_lists_all_five(directory: Path) -> None:
    assert {row[0] for row in query(directory, "SHOW TABLES").rows} == set(TABLE_NAMES)


def test_rows_beyond_the_limit_are_left_out_and_said_to_be(directory: Path) -> None:
    found = query(directory, "SELECT * FROM range(10)", max_rows=10)
    assert (len(found.rows), found.truncated) == (10, False)
    found = query(directory, "SELECT * FROM range(1000000000)", max_rows=10)
    assert (len(found.rows), found.truncated) == (10, True)


@pytest.mark.parametrize("timeout_seconds", [0.0, 0.3], ids=["over-before-it-begins", "while-it-runs"])
def test_query_that_takes_too_long_is_refused(directory: Path, timeout_seconds: float) -> None:
    with pytest.raises(QueryRefused, match="longer than"):
        query(
            directory,
            "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3",
            timeout_seconds=timeout_seconds,
        )


def test_query_that_wants_too_much_memory_is_refused_and_spills_nothing(
    directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(query_module._SETTINGS, "memory_limit", "40MB")
    with pytest.raises(QueryRefused, match=r"(?i)memory"):
        query(directory, "SELECT count(*) FROM (SELECT DISTINCT md5(range::VARCHAR) FROM range(30000000))")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "sql", ["", ";", "SELEC 1", "SELECT nothing FROM accesses", "SELECT * FROM no_such_table", "\x00", "'"]
)
def test_wrong_query_is_refused_in_words(directory: Path, sql: str) -> None:
    with pytest.raises(QueryRefused):
        query(directory, sql)


def test_query_of_excessive_length_is_refused(directory: Path) -> None:
    with pytest.raises(QueryRefused, match="at most"):
        query(directory, "SELECT 1 --" + "x" * 200_000)


def test_directory_that_is_no_replay_is_refused(tmp_path: Path) -> None:
    with pytest.raises(QueryRefused, match="does not hold a replay"):
        query(tmp_path / "nowhere", "SELECT 1")
    for name in TABLE_NAMES:
        parquet.write_table(pa.table({"a": [1]}), tmp_path / f"{name}.parquet")
    with pytest.raises(QueryRefused, match="does not hold a replay"):
        query(tmp_path, "SELECT 1")


def test_moment_beyond_pythons_calendar_is_refused_in_words(directory: Path) -> None:
    with pytest.raises(QueryRefused):
        query(directory, "SELECT TIMESTAMPTZ '20000-01-01 00:00:00+00'")


# ---- attacks
@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A file that SQL must not read, in several forms, and a directory that it must not write to."""
    (tmp_path / "secret.csv").write_text(f"column\n{SECRET}\n")
    (tmp_path / "secret.json").write_text(f'{{"a": "{SECRET}"}}')
    parquet.write_table(pa.table({"a": [SECRET]}), tmp_path / "secret.parquet")
    return tmp_path


READS = [
    "SELECT * FROM read_csv('{other}/secret.csv')",
    "SELECT * FROM read_csv_auto('{other}/secret.csv')",
    "SELECT * FROM '{other}/secret.csv'",
    "SELECT * FROM '{other}/secret.parquet'",
    "SELECT * FROM read_parquet('{other}/secret.parquet')",
    "SELECT * FROM read_parquet(['{other}/secret.parquet'])",
    "SELECT * FROM parquet_scan('{other}/*.parquet')",
    "SELECT * FROM parquet_metadata('{other}/secret.parquet')",
    "SELECT * FROM parquet_schema('{other}/secret.parquet')",
    "SELECT * FROM read_json('{other}/secret.json')",
    "SELECT * FROM read_text('{other}/secret.csv')",
    "SELECT * FROM read_blob('{other}/secret.csv')",
    "SELECT * FROM read_duckdb('{other}/secret.csv')",
    "SELECT * FROM sniff_csv('{other}/secret.csv')",
    "SELECT * FROM glob('{other}/*')",
    "SELECT * FROM query('SELECT * FROM read_text(''{other}/secret.csv'')')",
    "SELECT * FROM query_table('{other}/secret.csv')",
    "SELECT (SELECT content FROM read_text('{other}/secret.csv'))",
    "EXPLAIN ANALYZE SELECT * FROM read_text('{other}/secret.csv')",
    "DESCRIBE SELECT * FROM read_csv('{other}/secret.csv')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_csv('/dev/stdin')",
    "SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')",
    "SELECT * FROM read_parquet('https://127.0.0.1:9/x.parquet')",
    "SELECT * FROM read_parquet('s3://bucket/x.parquet')",
    "SELECT getenv('HOME')",
]


@pytest.mark.parametrize("sql", READS)
def test_reading_a_file_or_an_address_from_sql_is_refused(directory: Path, other: Path, sql: str) -> None:
    with pytest.raises(QueryRefused) as refused:
        query(directory, sql.format(other=other))
    assert SECRET not in str(refused.value)


def test_reading_even_the_replays_own_files_by_path_is_refused(directory: Path) -> None:
    path = str(directory / "accesses.parquet").replace("'", "''")
    with pytest.raises(QueryRefused):
        query(directory, f"SELECT * FROM read_parquet('{path}')")


WRITES = [
    "COPY accesses TO '{other}/written.csv'",
    "COPY (SELECT 1) TO '{other}/written.parquet' (FORMAT parquet)",
    "EXPORT DATABASE '{other}/written'",
    "IMPORT DATABASE '{other}'",
    "ATTACH '{other}/written.db'",
    "ATTACH '{other}/written.db' AS x; CREATE TABLE x.t AS SELECT 1",
    "DETACH memory",
    "USE memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{other}/evil.duckdb_extension'",
    "FORCE INSTALL spatial FROM 'http://127.0.0.1:9'",
    "CREATE TABLE t AS SELECT 1",
    "CREATE OR REPLACE VIEW accesses AS SELECT 1",
    "CREATE MACRO f() AS 1",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "INSERT INTO accesses SELECT * FROM accesses",
    "DELETE FROM accesses",
    "UPDATE accesses SET sequence = 0",
    "DROP VIEW accesses",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "RESET ALL",
    "SET temp_directory = '{other}'",
    "PRAGMA enable_profiling",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "CHECKPOINT",
    "BEGIN TRANSACTION",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "SELECT 1; SET enable_external_access = true",
    "SELECT 1; COPY accesses TO '{other}/written.csv'",
    "EXPLAIN ANALYZE COPY accesses TO '{other}/written.csv'",
    "EXPLAIN COPY accesses TO '{other}/written.csv'",
    "EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1",
    "EXPLAIN SELECT 1",
    "WITH x AS (DELETE FROM accesses RETURNING *) SELECT * FROM x",
    "FROM (COPY accesses TO '{other}/written.csv')",
]


@pytest.mark.parametrize("sql", WRITES)
def test_changing_or_writing_anything_from_sql_is_refused(directory: Path, other: Path, sql: str) -> None:
    before = sorted(other.iterdir())
    stored = {path: path.read_bytes() for path in directory.iterdir()}
    with pytest.raises(QueryRefused):
        query(directory, sql.format(other=other))
    assert sorted(other.iterdir()) == before
    assert {path: path.read_bytes() for path in directory.iterdir()} == stored


@pytest.mark.parametrize(
    "sql", ["SELECT * FROM duckdb_secrets()", "SELECT * FROM which_secret('s3://x', 's3')"]
)
def test_secrets_of_duckdb_are_not_there_to_be_read(directory: Path, sql: str) -> None:
    assert query(directory, sql).rows == []


def test_python_variables_cannot_be_named_as_tables_from_sql(directory: Path) -> None:
    secret_table = pa.table({"a": [SECRET]})
    assert secret_table.num_rows == 1
    with pytest.raises(QueryRefused):
        query(directory, "SELECT * FROM secret_table")


def test_settings_show_that_nothing_outside_is_reachable(directory: Path) -> None:
    names = ("enable_external_access", "lock_configuration", "python_enable_replacements", "temp_directory")
    listed = ", ".join(f"'{name}'" for name in names)
    found = query(directory, f"SELECT name, value FROM duckdb_settings() WHERE name IN ({listed})").rows
    assert dict(found) == {
        "enable_external_access": "false",
        "lock_configuration": "true",
        "python_enable_replacements": "false",
        "temp_directory": "",
    }


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(max_size=40)
    | st.sampled_from(["SELECT ", "FROM ", "(", "'"]).flatmap(lambda t: st.text().map(t.__add__))
)
def test_any_text_is_answered_or_refused_and_nothing_else(directory: Path, sql: str) -> None:
    try:
        query(directory, sql, max_rows=1)
    except QueryRefused:
        return


def test_query_leaves_no_file_in_the_working_directory(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    query(directory, "SELECT * FROM accesses ORDER BY time")
    assert os.listdir(tmp_path) == []
