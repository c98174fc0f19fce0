"""The node's outbox behaves as every outbox does, and survives its process."""

from collections.abc import Callable

import pytest
from outbox_behaviour import OutboxBehaviour, add, entry

from node.database import Database
from node.outbox import DatabaseOutbox


class TestDatabaseOutbox(OutboxBehaviour):
    @pytest.fixture
    def outbox(self, new_database: Database) -> DatabaseOutbox:
        return DatabaseOutbox(new_database)

    def test_pending_after_reopening_is_what_was_added(
        self, database_url: str, open_database: Callable[[str], Database]
    ) -> None:
        add(DatabaseOutbox(open_database(database_url)), entry(3))
        assert DatabaseOutbox(open_database(database_url)).pending() == [entry(3)]
