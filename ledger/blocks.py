"""What a chain's endpoint tells: blocks, logs, transactions and receipts, parsed strictly from JSON-RPC.

Source: Ethereum JSON-RPC specification (execution-apis), "Block", "Log", "Transaction" and "Receipt" objects.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ledger.errors import ChainAnswerInvalid

_QUANTITY = re.compile(r"0x(0|[1-9a-fA-F][0-9a-fA-F]{0,63})")
_DATA = re.compile(r"0x([0-9a-fA-F]{2})*")


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a log stands on the chain; ordered by block and then by log index."""

    block_number: int
    block_hash: bytes
    log_index: int
    transaction_hash: bytes


@dataclass(frozen=True, slots=True)
class Log:
    """One log of a contract, not yet decoded."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes
    position: Position


@dataclass(frozen=True, slots=True)
class Block:
    """A block's header, as far as this program needs it; ``time`` is in POSIX seconds of chain time."""

    number: int
    hash: bytes
    parent_hash: bytes
    time: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mined transaction's outcome; ``contract`` is the address that a deployment made."""

    transaction_hash: bytes
    block_number: int
    block_hash: bytes
    succeeded: bool
    gas_used: int
    contract: bytes | None
    logs: tuple[Log, ...]


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction that the endpoint knows; ``block_number`` is None while it waits to be mined."""

    hash: bytes
    sender: bytes
    nonce: int
    block_number: int | None


def quantity(value: object) -> int:
    """An integer of JSON-RPC: 0x and hex digits without leading zeros.

    Raises:
        ChainAnswerInvalid: another form.
    """
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise ChainAnswerInvalid(
            f"expected a quantity as 0x and hex digits; the endpoint sent {str(value)[:80]!r}"
        )
    return int(value, 16)


def data(value: object, size_bytes: int | None = None) -> bytes:
    """A byte string of JSON-RPC, of exactly ``size_bytes`` where given.

    Raises:
        ChainAnswerInvalid: another form or length.
    """
    if not isinstance(value, str) or not _DATA.fullmatch(value):
        raise ChainAnswerInvalid(
            f"expected bytes as 0x and hex digits; the endpoint sent {str(value)[:80]!r}"
        )
    if size_bytes is not None and len(value) != 2 + 2 * size_bytes:
        raise ChainAnswerInvalid(f"expected {size_bytes} bytes; the endpoint sent {len(value) // 2 - 1}")
    return bytes.fromhex(value[2:])


def parse_block(answer: object) -> Block:
    """A block's header; raises ChainAnswerInvalid."""
    found = _object(answer, "block")
    return Block(
        quantity(found.get("number")),
        data(found.get("hash"), 32),
        data(found.get("parentHash"), 32),
        quantity(found.get("timestamp")),
    )


def parse_log(answer: object) -> Log:
    """One log of a mined block; raises ChainAnswerInvalid, also for a log that a reorganisation removed."""
    found = _object(answer, "log")
    if found.get("removed"):
        raise ChainAnswerInvalid("the endpoint sent a log that it calls removed: the block was not final")
    topics = found.get("topics")
    if not isinstance(topics, list) or len(topics) > 4:
        raise ChainAnswerInvalid("expected at most four topics in a log")
    return Log(
        data(found.get("address"), 20),
        tuple(data(topic, 32) for topic in topics),
        data(found.get("data")),
        Position(
            quantity(found.get("blockNumber")),
            data(found.get("blockHash"), 32),
            quantity(found.get("logIndex")),
            data(found.get("transactionHash"), 32),
        ),
    )


def parse_receipt(answer: object) -> Receipt:
    """A receipt; raises ChainAnswerInvalid."""
    found = _object(answer, "receipt")
    logs = found.get("logs")
    if not isinstance(logs, list):
        raise ChainAnswerInvalid("expected a receipt with a list of logs")
    contract = found.get("contractAddress")
    return Receipt(
        data(found.get("transactionHash"), 32),
        quantity(found.get("blockNumber")),
        data(found.get("blockHash"), 32),
        quantity(found.get("status")) == 1,
        quantity(found.get("gasUsed")),
        None if contract is None else data(contract, 20),
        tuple(parse_log(log) for log in logs),
    )


def parse_transaction(answer: object) -> Transaction:
    """A transaction, mined or waiting; raises ChainAnswerInvalid."""
    found = _object(answer, "transaction")
    number = found.get("blockNumber")
    return Transaction(
        data(found.get("hash"), 32),
        data(found.get("from"), 20),
        quantity(found.get("nonce")),
        None if number is None else quantity(number),
    )


def _object(answer: object, what: str) -> Mapping[str, Any]:
    if not isinstance(answer, dict):
        raise ChainAnswerInvalid(
            f"expected a {what} as a JSON object; the endpoint sent {str(answer)[:80]!r}"
        )
    return answer
