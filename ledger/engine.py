"""What differs from one chain engine to the next; nothing else in this room knows which engine answers."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Engine:
    """How to talk to one kind of chain.

    Attributes:
        name: The engine's name in configuration files.
        finality_tag: The block tag whose block can no longer be replaced.
        gas_price_wei: The price that every transaction offers; consortium chains charge nothing.
        first_block: The number of the chain's first block, whose hash names the chain.
        block_seconds: The usual time between blocks while transactions come.
        idle_block_seconds: After how long at most a block comes without a transaction.
        max_log_blocks: How many blocks one eth_getLogs may span.
        max_logs: How many logs one eth_getLogs may return.
        max_in_flight: How many of one sender's transactions may wait at once.
        max_gas: The largest gas limit that a transaction may declare.
        poll_seconds: How long to wait between two looks for receipts or new blocks.
        mined_is_final: Whether a mined transaction can no longer be undone.
        asks_transaction_before_receipt: Whether a receipt look-up of a waiting transaction blocks, so that
            eth_getTransactionByHash must say first that it was mined.
        loses_newest_blocks: Whether a power cut may take away blocks that somebody has seen already.
        not_ready: Words of an error that says nothing about the request: the endpoint was just started, or has not
            indexed its newest block.
    """

    name: str
    finality_tag: Literal["latest", "finalized"]
    gas_price_wei: int
    first_block: int
    block_seconds: float
    idle_block_seconds: float
    max_log_blocks: int
    max_logs: int
    max_in_flight: int
    max_gas: int
    poll_seconds: float
    mined_is_final: bool
    asks_transaction_before_receipt: bool
    loses_newest_blocks: bool
    not_ready: tuple[str, ...] = ()


ANVIL = Engine(
    name="anvil",
    finality_tag="latest",
    gas_price_wei=0,
    first_block=0,
    block_seconds=1.0,
    idle_block_seconds=1.0,
    max_log_blocks=10_000,
    max_logs=100_000,
    max_in_flight=200,
    max_gas=30_000_000,
    poll_seconds=0.01,
    mined_is_final=True,
    asks_transaction_before_receipt=False,
    loses_newest_blocks=True,
)
"""The embedded engine for demonstrations and tests: one process, no integrity promise, ``latest`` is final."""

BFT = Engine(
    name="bft",
    finality_tag="latest",
    gas_price_wei=0,
    first_block=1,
    block_seconds=0.75,
    idle_block_seconds=5.0,
    max_log_blocks=10_000,
    max_logs=100_000,
    max_in_flight=500,
    max_gas=30_000_000,
    poll_seconds=0.05,
    mined_is_final=True,
    asks_transaction_before_receipt=True,
    loses_newest_blocks=False,
    not_ready=("exceeds block gas limit", "evmCoinInfo is not set", "failed to get rpc block"),
)
"""The consortium's chain (``chain/``: CometBFT, Cosmos SDK, cosmos/evm). A block has the signatures of more than two
thirds of the validators before anybody shows it, so the latest one is final; ``finalized`` is the same block there."""

ENGINES = {engine.name: engine for engine in (ANVIL, BFT)}
"""The engines by name."""
