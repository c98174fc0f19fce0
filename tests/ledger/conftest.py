"""One history with every kind of event, made once for all tests that only read it."""

from collections.abc import Iterator

import pytest
from chain_fixtures import LedgerWorld
from raw_ledger import RawLedger, make_raw_ledger

from ledger.anvil import Anvil


@pytest.fixture(scope="session")
def raw_ledger(anvil: Anvil) -> Iterator[RawLedger]:
    """A ledger with its logs; tests copy the logs before they alter them."""
    world = LedgerWorld(anvil)
    yield make_raw_ledger(world)
    world.close()
