"""Python's view of the chain: its messages, events and state, the rules that decide an access, and the chain itself.

Pure: ``messages``, ``events``, ``state``, ``decide``, ``heads``, ``snapshot``. At the edge: ``chain``, ``contract``,
``sender``, ``deploy``, ``follow``, ``anvil``. Addresses are 20 bytes and ids 32 bytes everywhere inside; text is for
the edges (``addresses``). Import the modules; the names most in use are here too.
"""

from ledger.addresses import from_text as address_from_text
from ledger.addresses import to_text as address_to_text
from ledger.blocks import Block, Log, Position, Receipt
from ledger.chain import Chain
from ledger.decide import AccessQuery, Decision, decide
from ledger.engine import ANVIL, BFT, Engine
from ledger.errors import LedgerError
from ledger.messages import LedgerScope
from ledger.state import LedgerState, apply, fold

__all__ = [
    "ANVIL",
    "BFT",
    "AccessQuery",
    "Block",
    "Chain",
    "Decision",
    "Engine",
    "LedgerError",
    "LedgerScope",
    "LedgerState",
    "Log",
    "Position",
    "Receipt",
    "address_from_text",
    "address_to_text",
    "apply",
    "decide",
    "fold",
]
