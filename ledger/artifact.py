"""The compiled contract, as the room ``contracts`` commits it."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from ledger.errors import LedgerError

ARTIFACT = Path(__file__).parents[1] / "contracts" / "artifacts" / "ConsentLedger.json"


@dataclass(frozen=True, slots=True)
class Artifact:
    """Interface and deployment code of the contract."""

    abi: tuple[dict[str, Any], ...]
    bytecode: bytes


@cache
def artifact(path: Path = ARTIFACT) -> Artifact:
    """The compiled contract.

    Raises:
        LedgerError: it is not there, or not what it should be.
    """
    try:
        found = orjson.loads(path.read_bytes())
        return Artifact(tuple(found["abi"]), bytes.fromhex(found["bytecode"].removeprefix("0x")))
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise LedgerError(
            f"the compiled contract at {path} cannot be read ({error}): build it again"
        ) from error
