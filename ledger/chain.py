"""A thin JSON-RPC client for one chain endpoint: httpx and orjson, every answer limited in size and parsed strictly.

Source: Ethereum JSON-RPC specification (execution-apis); blocks by hash are EIP-1898. Why not web3.py: ADR 0050.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from itertools import count
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import orjson
from eth_hash.auto import keccak

from ledger.blocks import (
    Block,
    Log,
    Receipt,
    Transaction,
    data,
    parse_block,
    parse_log,
    parse_receipt,
    parse_transaction,
    quantity,
)
from ledger.engine import Engine
from ledger.errors import (
    AnswerTooLarge,
    BlockUnknown,
    ChainAnswerInvalid,
    ChainNotReady,
    ChainUnreachable,
    NonceUsed,
    RpcRefused,
)

MAX_ANSWER_BYTES = 256 * 1024 * 1024
"""The largest answer that is read: 100,000 logs of batched accesses fit."""
ANSWER_SECONDS = 300.0
"""The longest that one answer may take from its first byte to its last: each read alone is limited too."""
READY_SECONDS = 2.0
INTERNAL_ERROR = -32603
"""JSON-RPC 2.0, section 5.1: the endpoint failed; it says nothing about what was asked."""
_Answer = TypeVar("_Answer")
_KNOWN_ALREADY = (
    "already known",
    "already imported",
    "already exists",
    "already in mempool",
    "already in cache",
)
_NONCE_USED = ("nonce too low", "nonce is too low", "invalid nonce", "invalid sequence")
BlockId = int | bytes | None
"""A block by number, by hash (32 bytes), or the latest final one (None)."""


class Chain:
    """One chain through one endpoint. Safe to share between threads.

    Every method raises ChainUnreachable when the endpoint does not answer in time, ChainAnswerInvalid when its
    answer is malformed or over the size limit, and RpcRefused when it answers with an error.
    """

    def __init__(
        self,
        url: str,
        engine: Engine,
        *,
        timeout_seconds: float = 30.0,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self.url = url
        parts = urlsplit(url)
        self.place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        """The endpoint as errors name it, which strangers may read: a URL may hold a password or a key."""
        self.engine = engine
        self._max_answer_bytes = max_answer_bytes
        self._ids = count(1)
        self._client = httpx.Client(
            timeout=timeout_seconds,
            trust_env=False,
            headers={"content-type": "application/json"},
            # None is kept: a malformed one would fail every later request, in words that no caller knows.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )

    def __enter__(self) -> "Chain":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections; the chain cannot be used afterwards."""
        self._client.close()

    def hold(self, block_number: int, block_hash: bytes) -> None:
        """Tells that this final block was taken in. One endpoint is held to it by the follower itself."""

    def problems(self) -> tuple[str, ...]:
        """What is wrong with some of the chain's endpoints while the others do, in words; none has only one."""
        return ()

    def believed_alone(self) -> str | None:
        """Which of several endpoints is believed alone, the others being away; None where one was chosen to be."""
        return None

    def request_bytes(self, method: str, parameters: Sequence[Any]) -> bytes:
        """The endpoint's whole answer to one request, unparsed: for readers of millions of logs."""
        request = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": list(parameters)}
        return self._post(orjson.dumps(request))

    def request(self, method: str, parameters: Sequence[Any] = ()) -> Any:
        """The parsed ``result`` of one request."""
        return self._result(method, _parse(self.request_bytes(method, parameters)))

    def request_many(self, method: str, many: Sequence[Sequence[Any]]) -> list[Any]:
        """The results of several requests of one method in one round trip, in the same order.

        Raises:
            RpcRefused: the first of them that was answered with an error.
        """
        if not many:
            return []
        first = next(self._ids)
        ids = [first, *(next(self._ids) for _ in many[1:])]
        requests = [
            {"jsonrpc": "2.0", "id": id_, "method": method, "params": list(parameters)}
            for id_, parameters in zip(ids, many, strict=True)
        ]
        answers = _parse(self._post(orjson.dumps(requests)))
        if not isinstance(answers, list) or not all(isinstance(answer, dict) for answer in answers):
            raise ChainAnswerInvalid(
                f"expected {len(many)} answers to {method}; the endpoint sent something else"
            )
        by_id = {answer.get("id"): answer for answer in answers}
        if set(by_id) != set(ids):
            raise ChainAnswerInvalid(f"expected an answer to each of {len(many)} requests of {method}")
        return [self._result(method, by_id[id_]) for id_ in ids]

    def chain_id(self) -> int:
        """The chain's EIP-155 id."""
        return quantity(self.request("eth_chainId"))

    def genesis_hash(self) -> bytes:
        """The hash (32 bytes) of the chain's first block."""
        return self.block(self.engine.first_block).hash

    def final_block(self) -> Block:
        """The latest block that can no longer be replaced, by the engine's finality."""
        return self.block(None)

    def block(self, block: BlockId) -> Block:
        """One block's header.

        Raises:
            BlockUnknown: this chain has no such block (yet).
        """
        if isinstance(block, bytes):
            answer = self._when_ready("eth_getBlockByHash", ["0x" + block.hex(), False])
        else:
            answer = self._when_ready("eth_getBlockByNumber", [self._tag(block), False])
        if answer is None:
            raise BlockUnknown(f"the chain at {self.place} has no block {_block_text(block)}")
        found = parse_block(answer)
        if (isinstance(block, int) and found.number != block) or (
            isinstance(block, bytes) and found.hash != block
        ):
            raise ChainAnswerInvalid(
                f"the chain at {self.place} was asked for block {_block_text(block)}; block {found.number}, "
                f"0x{found.hash.hex()}, came"
            )
        return found

    def block_transactions(self, block_number: int) -> list[Mapping[str, Any]]:
        """The transactions of a block as parsed from JSON, in order.

        Raises:
            BlockUnknown: this chain has no such block (yet).
        """
        answer = self._when_ready("eth_getBlockByNumber", [hex(block_number), True])
        if answer is None:
            raise BlockUnknown(f"the chain at {self.place} has no block {block_number}")
        found = answer.get("transactions") if isinstance(answer, dict) else None
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise ChainAnswerInvalid(f"expected block {block_number} with its transactions as JSON objects")
        return found

    def confirmed(self, what: str, ask: Callable[["Chain"], _Answer]) -> _Answer:
        """What one endpoint answers; of several, what enough of them answer alike. ``what`` names it in errors."""
        return ask(self)

    def call(self, to: bytes, call_data: bytes, block: BlockId = None, sender: bytes | None = None) -> bytes:
        """What a contract (20 bytes) returns to ``call_data`` at a block, without a transaction.

        Raises:
            RpcRefused: it reverted; ``data`` has the revert data.
        """
        transaction = {"to": "0x" + to.hex(), "data": "0x" + call_data.hex()}
        if sender is not None:
            transaction["from"] = "0x" + sender.hex()
        return data(self.request("eth_call", [transaction, self._tag(block)]))

    def estimate_gas(self, to: bytes | None, call_data: bytes, sender: bytes) -> int:
        """The gas that a transaction would use at the latest state; RpcRefused with revert data if it reverts."""
        transaction = {"data": "0x" + call_data.hex(), "from": "0x" + sender.hex()}
        if to is not None:
            transaction["to"] = "0x" + to.hex()
        return quantity(self.request("eth_estimateGas", [transaction]))

    def logs(
        self, address: bytes, from_block: int, to_block: int, topics: Sequence[bytes] | None = None
    ) -> list[Log]:
        """The logs of a contract from one block to another, both included, in order.

        ``topics`` limits them to those whose first topic is one of these.
        """
        parameters: dict[str, Any] = {
            "address": "0x" + address.hex(),
            "fromBlock": hex(from_block),
            "toBlock": hex(to_block),
        }
        if topics is not None:
            parameters["topics"] = [["0x" + topic.hex() for topic in topics]]
        answer = self.request("eth_getLogs", [parameters])
        if not isinstance(answer, list):
            raise ChainAnswerInvalid("expected a list of logs from eth_getLogs")
        logs = [parse_log(log) for log in answer]
        for log in logs:
            if log.address != address or not from_block <= log.position.block_number <= to_block:
                raise ChainAnswerInvalid("the endpoint sent logs that were not asked for")
        return sorted(logs, key=lambda log: (log.position.block_number, log.position.log_index))

    def send_raw(self, raw: bytes) -> bytes:
        """Hands in a signed transaction, also one that the endpoint has already; its hash (32 bytes).

        Raises:
            NonceUsed: one with its nonce was mined already, which may be this very one.
            RpcRefused: the endpoint does not take it for another reason.
        """
        try:
            answer = data(self.request("eth_sendRawTransaction", ["0x" + raw.hex()]), 32)
        except RpcRefused as error:
            said = error.message.lower()
            if any(words in said for words in _KNOWN_ALREADY):
                return keccak(raw)
            if any(words in said for words in _NONCE_USED):
                raise NonceUsed(error.method, error.code, error.message, error.data) from error
            raise
        if answer != keccak(raw):
            raise ChainAnswerInvalid(
                f"the chain at {self.place} answered with the hash 0x{answer.hex()} of another transaction than "
                "was handed in"
            )
        return answer

    def transaction(self, transaction_hash: bytes) -> Transaction | None:
        """A transaction that the endpoint knows, mined or waiting, or None."""
        answer = self.request("eth_getTransactionByHash", ["0x" + transaction_hash.hex()])
        return None if answer is None else parse_transaction(answer)

    def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """A mined transaction's receipt, or None."""
        return self.receipts([transaction_hash])[0]

    def receipts(self, hashes: Sequence[bytes]) -> list[Receipt | None]:
        """The receipts of several transactions in the same order, None for each that is not mined."""
        asked = list(hashes)
        if self.engine.asks_transaction_before_receipt:
            known = self.request_many("eth_getTransactionByHash", [["0x" + hash_.hex()] for hash_ in asked])
            found = [None if answer is None else parse_transaction(answer) for answer in known]
            asked = [one.hash for one in found if one is not None and one.block_number is not None]
        answers = self.request_many("eth_getTransactionReceipt", [["0x" + hash_.hex()] for hash_ in asked])
        receipts = [parse_receipt(answer) for answer in answers if answer is not None]
        by_hash = {receipt.transaction_hash: receipt for receipt in receipts}
        return [by_hash.get(hash_) for hash_ in hashes]

    def transaction_count(self, address: bytes, tag: str = "latest") -> int:
        """How many transactions of an account were mined (``latest``), or mined or wait (``pending``)."""
        return quantity(self.request("eth_getTransactionCount", ["0x" + address.hex(), tag]))

    def code_hash(self, address: bytes, block: BlockId = None) -> bytes:
        """The Keccak-256 (32 bytes) of the code at an address; that of nothing where there is none."""
        return keccak(data(self.request("eth_getCode", ["0x" + address.hex(), self._tag(block)])))

    def _when_ready(self, method: str, parameters: Sequence[Any]) -> Any:
        """The result, also where the newest block has to be indexed first, which takes a moment."""
        until = time.monotonic() + READY_SECONDS
        while True:
            try:
                return self.request(method, parameters)
            except ChainNotReady:
                if time.monotonic() > until:
                    raise
                time.sleep(self.engine.poll_seconds)

    def _tag(self, block: BlockId) -> str | dict[str, str]:
        if block is None:
            return self.engine.finality_tag
        return hex(block) if isinstance(block, int) else {"blockHash": "0x" + block.hex()}

    def _result(self, method: str, answer: Any) -> Any:
        if not isinstance(answer, dict):
            raise ChainAnswerInvalid(f"expected an answer to {method} as a JSON object")
        error = answer.get("error")
        if error is None:
            if "result" not in answer:
                raise ChainAnswerInvalid(f"the endpoint's answer to {method} has neither result nor error")
            return answer["result"]
        if not isinstance(error, dict) or not isinstance(error.get("code"), int):
            raise ChainAnswerInvalid(f"the endpoint's error to {method} is malformed")
        message = str(error.get("message"))[:500]
        if error["code"] == INTERNAL_ERROR or any(words in message for words in self.engine.not_ready):
            raise ChainNotReady(f"the chain at {self.place} cannot answer {method} now: {message}")
        revert = error.get("data")
        revert_data = data(revert) if isinstance(revert, str) and revert.startswith("0x") else b""
        raise RpcRefused(method, error["code"], message, revert_data)

    def _post(self, body: bytes) -> bytes:
        received = bytearray()
        end = time.monotonic() + ANSWER_SECONDS
        try:
            with self._client.stream("POST", self.url, content=body) as response:
                for chunk in response.iter_bytes():
                    received += chunk
                    if len(received) > self._max_answer_bytes:
                        raise AnswerTooLarge(
                            f"the chain at {self.place} answered with more than {self._max_answer_bytes} bytes: "
                            "ask for fewer blocks at once"
                        )
                    if time.monotonic() > end:
                        raise ChainUnreachable(
                            f"the chain at {self.place} took more than {ANSWER_SECONDS:.0f} s over one answer"
                        )
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise ChainUnreachable(
                f"the chain at {self.place} does not answer ({reason}): is its node running?"
            ) from error
        if response.status_code != 200:
            raise ChainUnreachable(
                f"the chain at {self.place} answered HTTP {response.status_code}: is that a JSON-RPC endpoint?"
            )
        return bytes(received)


def _parse(answer: bytes) -> Any:
    try:
        return orjson.loads(answer)
    except orjson.JSONDecodeError as error:
        raise ChainAnswerInvalid(f"the endpoint's answer is no JSON: {error}") from error


def _block_text(block: BlockId) -> str:
    return "0x" + block.hex() if isinstance(block, bytes) else "final" if block is None else str(block)
