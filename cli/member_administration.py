"""The administrator at work on the ledger and on the chain below it, with one account."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.administration import Administration
from cli.administrator import open_account
from cli.chain_decisions import ChainDecisions
from cli.network_plan import BFT
from cli.places import NetworkPlace


@contextmanager
def open_administration(
    place: NetworkPlace, passphrase_file: Path | None, comet_rpc: str | None
) -> Iterator[tuple[Administration, ChainDecisions | None]]:
    """Both, the second where the chain has a list of members."""
    decisions = None
    if place.engine_name == BFT:
        account = open_account(place.administrator_directory, passphrase_file)
        decisions = ChainDecisions.of(place, account, comet_rpc)
    with Administration.open(place, passphrase_file) as administration:
        yield administration, decisions
