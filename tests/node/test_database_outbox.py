"""The node's outbox behaves as every outbox does, and survives its process."""

from pathlib import Path

import pytest
from outbox_behaviour import OutboxBehaviour, add, entry

from node.database import Database
from node.outbox import DatabaseOutbox


def open_outbox(path: Path) -> DatabaseOutbox:
    database = Database(f"sqlite:///{path}")
    database.migrate()
    return DatabaseOutbox(database)


class TestDatabaseOutbox(OutboxBehaviour):
    @pytest.fixture
    def outbox(self, tmp_path: Path) -> DatabaseOutbox:
        return open_outbox(tmp_path / "node.db")

    def test_pending_after_reopening_is_what_was_added(self, tmp_path: Path) -> None:
        add(open_outbox(tmp_path / "node.db"), entry(3))
        assert open_outbox(tmp_path / "node.db").pending() == [entry(3)]
