"""The room's behaviour suite runs on every engine: Anvil, and with ``-m network`` four validators.

One history with every kind of event is made once on each, for all tests that only read it.
"""

from collections.abc import Iterator

import pytest
from chain_fixtures import LedgerWorld, Validators
from raw_ledger import RawLedger, make_raw_ledger

from ledger.anvil import Anvil


@pytest.fixture(scope="session", params=["anvil", pytest.param("bft", marks=pytest.mark.network)])
def chain_host(request: pytest.FixtureRequest) -> Anvil | Validators:
    """Each engine in turn."""
    host: Anvil | Validators = request.getfixturevalue("anvil" if request.param == "anvil" else "validators")
    return host


@pytest.fixture(scope="session")
def raw_ledger(chain_host: Anvil | Validators) -> Iterator[RawLedger]:
    """A ledger with its logs; tests copy the logs before they alter them."""
    world = LedgerWorld(chain_host)
    yield make_raw_ledger(world)
    world.close()
