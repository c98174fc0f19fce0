"""The outbox in memory has the behaviour of every outbox."""

import pytest
from outbox_behaviour import OutboxBehaviour

from ledger.outbox import MemoryOutbox, Outbox


class TestMemoryOutbox(OutboxBehaviour):
    @pytest.fixture
    def outbox(self) -> Outbox:
        return MemoryOutbox()
