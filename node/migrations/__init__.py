"""The versions of the schema, and how a database comes to the newest: Alembic's migrations, run by the node itself.

One a file in ``versions/``; a new one is added beside them and none is ever changed. Each runs in the transaction of
all: a database is at its old version or at the new one, whatever ends the process.
"""

from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from sqlalchemy import Connection, inspect, select

from node.errors import ConfigurationError
from node.schema import metadata
from node.tables import schema_version

BASELINE = "0001"
_BEFORE_MIGRATIONS = 1
"""The version in ``schema_version`` that programs of before migrations wrote and ask for."""
_ADDED_SINCE = {"replica_checks", "replica_losses", "takeovers"}
"""Tables that the baseline has not."""


def upgrade(connection: Connection, to: str = "head") -> None:
    """Brings a database to the newest version, inside the transaction of ``connection``, which must hold the lock of
    writers.

    Args:
        to: another version than the newest, for tests.

    Raises:
        ConfigurationError: a newer program, or another one, made the database; nothing was changed.
    """
    scripts = _scripts()
    context = MigrationContext.configure(connection)
    heads = context.get_current_heads()
    if heads:
        _require_known(scripts, heads)
    elif inspect(connection).has_table(schema_version.name):
        _adopt(connection)
        context.stamp(scripts, BASELINE)
    with EnvironmentContext(Config(), scripts, as_sql=False, destination_rev=to) as environment:
        environment.configure(
            connection=connection,
            target_metadata=metadata,
            transactional_ddl=True,
            fn=lambda revision, _: scripts._upgrade_revs(to, revision),  # as alembic.command.upgrade does
        )
        environment.run_migrations()


def current(connection: Connection) -> str | None:
    """A database's version; None before it has any."""
    return MigrationContext.configure(connection).get_current_revision()


def newest() -> str:
    """The version that this program works with."""
    return _scripts().get_current_head() or BASELINE


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(Path(__file__).parent))


def _require_known(scripts: ScriptDirectory, heads: tuple[str, ...]) -> None:
    try:
        scripts.revision_map.get_revisions(heads)
    except ResolutionError:
        raise ConfigurationError(
            f"expected a database of schema version {newest()} or older; came {', '.join(heads)}: run the version of "
            "this program that wrote it, or a newer one"
        ) from None


def _adopt(connection: Connection) -> None:
    """Takes over the database of a program of before migrations; its tables are those of the baseline."""
    baseline = set(metadata.tables) - _ADDED_SINCE
    if absent := baseline - set(inspect(connection).get_table_names()):
        raise ConfigurationError(
            f"expected the database of a node; came one with a table {schema_version.name} and without "
            f"{', '.join(sorted(absent)[:3])}: give the node a database of its own"
        )
    found = connection.execute(select(schema_version.c.version)).scalars().all()
    if found not in ([_BEFORE_MIGRATIONS], []):
        raise ConfigurationError(
            f"expected a database of schema version {_BEFORE_MIGRATIONS}, or one that Alembic keeps; came {found}: "
            "run the version of this program that wrote it"
        )
