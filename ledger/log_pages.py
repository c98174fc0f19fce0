"""The contract's logs as the endpoint sends them, range by range, checked to be what was asked for.

An endpoint is not trusted here: whoever reads these pages may be checking it.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import Any

from ledger.blocks import parse_log, quantity
from ledger.chain import Chain
from ledger.errors import AnswerTooLarge, ChainAnswerInvalid, RpcRefused

RawLog = Mapping[str, Any]
"""A log as parsed from JSON."""
BLOCKS_AT_FIRST = 100
LOGS_A_PAGE = 10_000
MAX_LOG_INDEX = 1 << 32
_TEXT_MEMBERS = ("address", "data", "blockNumber", "blockHash", "logIndex", "transactionHash")


def read_pages(chain: Chain, address: bytes, first_block: int, last_block: int) -> Iterator[Sequence[RawLog]]:
    """The logs of a contract from one block to another, both included, in pages and in the chain's order.

    The next page is fetched while the caller works on one. Ranges grow and shrink so that a page has some
    ``LOGS_A_PAGE``, and a range that is too much for the endpoint is halved.

    Raises:
        ChainAnswerInvalid: the answer is not as its specification says, or not what was asked for.
        RpcRefused, AnswerTooLarge: the endpoint refuses even a single block.
    """
    if first_block > last_block:
        return
    span = min(BLOCKS_AT_FIRST, chain.engine.max_log_blocks)
    with ThreadPoolExecutor(1, "log-pages") as fetcher:
        coming: Future[tuple[list[Any], int]] | None = fetcher.submit(
            _fetch, chain, address, first_block, last_block, span
        )
        while coming is not None:
            page, end = coming.result()
            start, span, coming = first_block, _next_span(end - first_block + 1, len(page), chain), None
            first_block = end + 1
            if first_block <= last_block:
                coming = fetcher.submit(_fetch, chain, address, first_block, last_block, span)
            yield checked_page(page, address, start, end)


def _fetch(chain: Chain, address: bytes, start: int, last_block: int, span: int) -> tuple[list[Any], int]:
    """The answer for as many blocks as the endpoint gives at once, and the last of them."""
    while True:
        end = min(start + span - 1, last_block)
        asked = {"address": "0x" + address.hex(), "fromBlock": hex(start), "toBlock": hex(end)}
        try:
            page = chain.request("eth_getLogs", [asked])
        except (RpcRefused, AnswerTooLarge):
            if start == end:
                raise
            span = max(1, (end - start + 1) // 2)
            continue
        if not isinstance(page, list):
            raise ChainAnswerInvalid("expected a list of logs from eth_getLogs")
        return page, end


def _next_span(span: int, logs: int, chain: Chain) -> int:
    wanted = span * LOGS_A_PAGE // max(logs, 1)
    return max(1, min(wanted, span * 2, chain.engine.max_log_blocks))


def checked_page(page: list[Any], address: bytes, first_block: int, last_block: int) -> Sequence[RawLog]:
    """The logs of a page in the chain's order, when all of them were asked for and none comes twice.

    Raises:
        ChainAnswerInvalid: a log is malformed, removed, of another contract, of a block outside the range, or there
            are two at one place.
    """
    if not all(_has_the_form_of_a_log(log) for log in page):
        for log in page:
            parse_log(log)
        raise ChainAnswerInvalid("the endpoint sent a log that has not the form of one")
    contract = "0x" + address.hex()
    if any(text.lower() != contract for text in {log["address"] for log in page}):
        raise ChainAnswerInvalid(f"the endpoint sent logs of another contract than {contract}")
    # Few texts differ, so each is parsed once.
    blocks = {text: quantity(text) for text in {log["blockNumber"] for log in page}}
    indices = {text: quantity(text) for text in {log["logIndex"] for log in page}}
    if any(not first_block <= number <= last_block for number in blocks.values()):
        raise ChainAnswerInvalid(
            f"the endpoint sent logs of blocks outside the range that was asked for, {first_block} to {last_block}"
        )
    if any(index >= MAX_LOG_INDEX for index in indices.values()):
        raise ChainAnswerInvalid("the endpoint sent a log index that no block can have")
    places = [(blocks[log["blockNumber"]], indices[log["logIndex"]]) for log in page]
    order = sorted(range(len(page)), key=places.__getitem__)
    for before, after in pairwise(order):
        if places[before] == places[after]:
            number, index = places[after]
            raise ChainAnswerInvalid(f"the endpoint sent log {index} of block {number} twice")
    return [page[place] for place in order]


def _has_the_form_of_a_log(log: object) -> bool:
    if type(log) is not dict or log.get("removed"):
        return False
    topics = log.get("topics")
    if type(topics) is not list or not all(type(topic) is str for topic in topics):
        return False
    return all(type(log.get(member)) is str for member in _TEXT_MEMBERS)
