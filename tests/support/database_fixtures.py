"""Databases for tests: SQLite files, or with ``--database postgres`` those of a PostgreSQL server of the run's own.

Loaded as a plugin by tests/conftest.py. The server starts when the first test asks for a database, one for each
process of the run, and ends with it. A database is a copy of one whose schema is migrated already, which takes tens of
milliseconds.
"""

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engines.postgres import PostgresServer
from engines.postgres_cluster import create_cluster, remove_cluster
from node.database import Database

SQLITE, POSTGRES = "sqlite", "postgres"
_TEMPLATE = "phr_template"


@dataclass
class TestServer:
    """The PostgreSQL server of this process's tests."""

    __test__ = False
    directory: Path | None = None
    server: PostgresServer | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def started(self) -> PostgresServer:
        """The server, running."""
        if self.server is None:
            # Not below pytest's own directory, which the server's user may not enter when root runs the tests.
            self.directory = Path(tempfile.mkdtemp(prefix="phr-test-postgres-"))
            self.directory.chmod(0o711)
            self.server = create_cluster(self.directory / "cluster")
            self.server.start()
            template = Database(self._create(_TEMPLATE))
            template.migrate()
            template.close()
        return self.server

    def new_url(self, *, empty: bool = False) -> str:
        """The URL of a database of its own, with the newest schema unless ``empty``."""
        self.started()
        return self._create(f"test_{next(self._numbers)}", None if empty else _TEMPLATE)

    def stop(self) -> None:
        if self.directory is not None:
            remove_cluster(self.directory / "cluster")
            shutil.rmtree(self.directory)
            self.directory = self.server = None

    def _create(self, name: str, template: str | None = None) -> str:
        assert self.server is not None
        assert self.directory is not None
        return self.server.create_database(name, self.directory / f"{name}.pgpass", template=template)


SERVER = TestServer()
_chosen = SQLITE


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=(SQLITE, POSTGRES),
        default=SQLITE,
        help="where the nodes of tests keep what they know: SQLite, or a PostgreSQL server made for the run",
    )


def pytest_configure(config: pytest.Config) -> None:
    global _chosen
    _chosen = config.getoption("--database")


def pytest_unconfigure() -> None:
    SERVER.stop()


def on_postgres() -> bool:
    """Whether this run's nodes are on PostgreSQL."""
    return _chosen == POSTGRES


def new_database_url(directory: Path, *, empty: bool = False) -> str:
    """A database of its own, of the kind that this run was asked for: ``node.db`` in ``directory``, or PostgreSQL's.

    Args:
        empty: without the schema that PostgreSQL's would have already.
    """
    return SERVER.new_url(empty=empty) if on_postgres() else f"sqlite:///{directory / 'node.db'}"


class TestDatabase(Database):
    """A database that knows its URL, for tests that open it again or from another process."""

    __test__ = False

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """A database of the test's own, which any number of connections may open."""
    return new_database_url(tmp_path)


@pytest.fixture
def empty_database(tmp_path: Path) -> Iterator[TestDatabase]:
    """A database without a schema."""
    made = TestDatabase(new_database_url(tmp_path, empty=True))
    yield made
    made.close()


@pytest.fixture
def new_database(database_url: str) -> Iterator[TestDatabase]:
    """A database with the newest schema."""
    made = TestDatabase(database_url)
    made.migrate()
    yield made
    made.close()


@pytest.fixture
def open_database() -> Iterator[Callable[[str], TestDatabase]]:
    """Opens a database of a URL, again and again where wanted; all are closed after the test."""
    opened: list[TestDatabase] = []

    def open_it(url: str) -> TestDatabase:
        opened.append(TestDatabase(url))
        opened[-1].migrate()
        return opened[-1]

    yield open_it
    for one in opened:
        one.close()
