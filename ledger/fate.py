"""Which transaction was mined at a nonce, by the blocks themselves: an endpoint's index of receipts may lag or stop."""

from ledger.blocks import parse_transaction
from ledger.chain import Chain


def mined_at_nonce(chain: Chain, address: bytes, nonce: int) -> list[bytes]:
    """The hash (32 bytes) of the final transaction of ``address`` (20 bytes) with this nonce.

    It stands in the block in which the account's count passed the nonce, which some 2 log2(blocks since then) requests
    find. Empty where none is final yet, or where the endpoint does not show it; more than one where a block names
    several, of which one counted.

    Raises:
        ChainUnreachable, ChainAnswerInvalid: the endpoint fails.
        RpcRefused: it has no counts of past blocks any more.
    """

    def passed(block_number: int) -> bool:
        return chain.transaction_count(address, hex(block_number)) > nonce

    last, floor, step = chain.final_block().number, chain.engine.first_block, 1
    if not passed(last):
        return []
    before = last - 1
    while before > floor and passed(before):
        last, step = before, 2 * step
        before = max(before - step, floor)
    while before + 1 < last:
        middle = (before + last) // 2
        if passed(middle):
            last = middle
        else:
            before = middle
    mined = chain.confirmed(
        f"the transactions of block {last}",
        lambda one: [parse_transaction(transaction) for transaction in one.block_transactions(last)],
    )
    return [one.hash for one in mined if one.sender == address and one.nonce == nonce]
