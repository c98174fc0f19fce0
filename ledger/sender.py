"""Sends one account's transactions: numbered under concurrency, journalled before they go out, awaited until final.

What keeps the queue moving: nonces are given out and sent under one lock, so that a refused transaction gives its
nonce back; unmined ones are handed in again as the very same bytes; and where the chain will not take one any more, a
transaction that does nothing takes its nonce, so that those behind it can land. A transaction counts as lost only
when another one is seen mined at its nonce.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from ledger.blocks import Receipt
from ledger.chain import Chain
from ledger.errors import (
    ChainAnswerInvalid,
    ChainUnreachable,
    ContractRefused,
    NonceUsed,
    NotFinal,
    RpcRefused,
    TransactionLost,
)
from ledger.fate import Fates
from ledger.flight import Flight
from ledger.outbox import Outbox
from ledger.refusals import refusal
from ledger.signing import SignDigest
from ledger.transactions import SignedTransaction, sign_transaction

GAS_MARGIN = 1.25
"""How much more gas is declared than estimated: other transactions may change storage in between."""
TRANSFER_GAS = 21_000
FILLERS_AT_ONCE = 32
"""How many gaps between nonces are closed in one turn: a count that is told too low must not stop all else."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A transaction on its way: its hash, and what it asks for (to say why, should it be refused)."""

    transaction_hash: bytes
    nonce: int
    to: bytes | None
    data: bytes


class Sender:
    """The transactions of ``address`` (20 bytes); one Sender a key at any time. Safe to share between threads.

    After a restart call :meth:`resume` first. ChainUnreachable is raised while the chain does not answer; what was
    journalled by then goes out with the next wait or :meth:`resume`.
    """

    def __init__(
        self,
        chain: Chain,
        address: bytes,
        sign_digest: SignDigest,
        outbox: Outbox,
        *,
        chain_id: int | None = None,
        timeout_seconds: float = 60.0,
        resend_seconds: float = 3.0,
        lost_after_seconds: float = 10.0,
        require_ready: Callable[[], None] = lambda: None,
    ) -> None:
        """Sends nothing yet.

        Args:
            chain_id: the deployment's; None asks the endpoint, as before there is a deployment: an endpoint that names
                another chain's id gets a signature that counts there.
            require_ready: Asked before anything new is signed; raises where nothing should be sent now.
        """
        self.chain = chain
        self.address = address
        self.timeout_seconds = timeout_seconds
        self._resend_seconds = resend_seconds
        self._lost_after_seconds = lost_after_seconds
        self._sign_digest = sign_digest
        self._require_ready = require_ready
        self._flight = Flight(outbox)
        self._chain_id = chain_id
        self._next_nonce: int | None = None
        self._sending = threading.RLock()
        self._looked = threading.Condition()
        self._looking = False
        self._resent_at = time.monotonic()
        self._fates = Fates(chain, address, lost_after_seconds)
        self._landed, self._landed_at = 0, time.monotonic()

    def send(self, to: bytes | None, data: bytes, gas: int | None = None) -> Receipt:
        """Simulates, submits and waits until final.

        Raises:
            ContractRefused: in the simulation, at no cost, or once mined; with the contract's own error.
            RpcRefused, NotFinal, TransactionLost: see :meth:`submit` and :meth:`wait`.
        """
        return self.wait(self.submit(to, data, gas))

    def submit(self, to: bytes | None, data: bytes, gas: int | None = None) -> Submission:
        """Signs, journals and hands in a transaction; ``to`` None deploys. Waits while too many are in flight.

        With ``gas`` None it is simulated first, which also finds the gas. With ``gas`` it is not: for transactions
        that build on others still unmined.

        Raises:
            ContractRefused: the contract would refuse it; nothing was sent.
            RpcRefused: the chain does not take it; nothing was sent and its nonce is free again.
            NotFinal: too many were in flight for too long.
        """
        self._require_ready()
        if gas is None:
            gas = self._estimate(to, data)
        self._wait_for_room()
        with self._sending:
            signed = self._sign(self._nonce(), to, data, gas)
            try:
                self._hand_in_first(signed)
            except NonceUsed:
                # Something else used this key: number anew, once.
                signed = self._sign(self._nonce(), to, data, gas)
                self._hand_in_first(signed)
        return Submission(signed.hash, signed.nonce, to, data)

    def wait(self, submitted: Submission | bytes, timeout_seconds: float | None = None) -> Receipt:
        """The receipt of a submitted transaction (or of its hash, after a restart) as soon as it is final.

        Raises:
            ContractRefused: it was mined and reverted.
            NotFinal: not final in time; it stays in the outbox and may still become so.
            TransactionLost: another transaction was mined at its nonce, or it was never journalled here.
        """
        hash_ = submitted if isinstance(submitted, bytes) else submitted.transaction_hash
        deadline = time.monotonic() + (self.timeout_seconds if timeout_seconds is None else timeout_seconds)
        self._flight.await_receipt(hash_)
        try:
            while hash_ in self._flight:
                if time.monotonic() > deadline:
                    raise NotFinal(
                        f"transaction 0x{hash_.hex()} is not final yet; it stays in the outbox and is sent again"
                    )
                self._look_once()
            receipt = self._flight.receipt(hash_) or self._find_receipt(hash_, deadline)
        finally:
            self._flight.leave(hash_)
        if receipt is None:
            raise TransactionLost(
                f"transaction 0x{hash_.hex()} can never land: another one of 0x{self.address.hex()} has its nonce, "
                "or it was never journalled; look at the ledger's state, and send again if need be"
            )
        if not receipt.succeeded:
            raise self._why(receipt, submitted)
        return receipt

    def _find_receipt(self, transaction_hash: bytes, deadline: float) -> Receipt | None:
        """The receipt of one that is not in flight (any more), as after a restart; None when the chain has none."""
        until = min(time.monotonic() + self._lost_after_seconds, deadline)
        while True:
            try:
                receipt = self._final(self.chain.receipt(transaction_hash))
                if receipt is not None or time.monotonic() > until:
                    return receipt
            except (ChainUnreachable, ChainAnswerInvalid):
                if time.monotonic() > deadline:
                    raise
            time.sleep(10 * self.chain.engine.poll_seconds)

    def resume(self) -> list[bytes]:
        """Hands in again, as the same bytes, what the outbox holds and the chain has not mined.

        Returns:
            The hashes that are still unmined; :meth:`wait` takes them.
        """
        with self._sending:
            self._flight.reload()
            self._next_nonce = None
            self._take_receipts()
            self._resend()
        return [entry.hash for entry in self._flight.ordered()]

    def _estimate(self, to: bytes | None, data: bytes) -> int:
        try:
            estimated = self.chain.estimate_gas(to, data, self.address)
        except RpcRefused as error:
            if error.data or "revert" in error.message.lower():
                raise refusal(error.data) from error
            raise
        return min(int(estimated * GAS_MARGIN), self.chain.engine.max_gas)

    def _nonce(self) -> int:
        if self._next_nonce is None:
            counted = self.chain.transaction_count(self.address, "pending")
            self._next_nonce = max([counted, *(entry.nonce + 1 for entry in self._flight.ordered())])
        return self._next_nonce

    def _sign(self, nonce: int, to: bytes | None, data: bytes, gas: int) -> SignedTransaction:
        if self._chain_id is None:
            self._chain_id = self.chain.chain_id()
        return sign_transaction(
            chain_id=self._chain_id,
            nonce=nonce,
            gas_price_wei=self.chain.engine.gas_price_wei,
            gas=gas,
            to=to,
            data=data,
            sender=self.address,
            sign_digest=self._sign_digest,
        )

    def _hand_in_first(self, signed: SignedTransaction) -> None:
        """Journals and hands in a new transaction, the last one in the queue."""
        self._flight.add(signed)
        try:
            self.chain.send_raw(signed.raw)
        except RpcRefused as error:
            if not isinstance(error, NonceUsed) or self._fates.is_beaten(signed):
                # Refused, and nothing behind it: its nonce is free for the next one.
                self._flight.remove(signed.hash)
                self._next_nonce = None
                raise
        except (ChainUnreachable, ChainAnswerInvalid):
            # It may have arrived or not. It is journalled: whoever waits hands in the same bytes again.
            pass
        self._next_nonce = signed.nonce + 1

    def _resend(self) -> None:
        """Hands in everything unmined by nonce, and closes gaps between nonces."""
        self._resent_at = time.monotonic()
        with self._sending:
            waiting = self._flight.ordered()
            taken = {entry.nonce for entry in waiting}
            mined = self._count_mined()
            for entry in waiting:
                try:
                    if entry.nonce >= mined:
                        self.chain.send_raw(entry.raw)
                        self._fates.is_taken(entry.hash)
                    elif self._fates.is_lost(entry):
                        self._flight.remove(entry.hash)
                except RpcRefused as error:
                    if self._fates.is_refused_for_good(entry, error):
                        self._fill(entry.nonce)
            gaps = (nonce for nonce in range(mined, max(taken, default=mined)) if nonce not in taken)
            for nonce in islice(gaps, FILLERS_AT_ONCE):
                self._fill(nonce)

    def _count_mined(self) -> int:
        """How many of the account's transactions are mined; what just landed by its receipt leaves no gap.

        An endpoint that is behind counts too few for a while; a chain that goes on counting fewer lost some, where it
        may lose what was final.
        """
        counted = self.chain.transaction_count(self.address)
        waited = time.monotonic() - self._landed_at >= self._lost_after_seconds
        if counted < self._landed and waited and self.chain.engine.loses_newest_blocks:
            self._landed = counted
        return max(counted, self._landed)

    def _fill(self, nonce: int) -> None:
        """Hands in a transaction that does nothing, at a nonce that would block those behind it."""
        filler = self._sign(nonce, self.address, b"", TRANSFER_GAS)
        if filler.hash in self._flight:
            return
        self._flight.add(filler)
        try:
            self.chain.send_raw(filler.raw)
        except RpcRefused:
            # The nonce is taken by one in the chain's queue, or the chain takes nothing from this account.
            self._flight.remove(filler.hash)

    def _wait_for_room(self) -> None:
        deadline = time.monotonic() + self.timeout_seconds
        while len(self._flight) >= self.chain.engine.max_in_flight:
            if time.monotonic() > deadline:
                raise NotFinal(
                    f"{len(self._flight)} transactions of 0x{self.address.hex()} wait and none becomes final: "
                    "does the chain make blocks?"
                )
            self._look_once()

    def _look_once(self) -> None:
        """Looks for the receipts of all, by one thread; the others wait until it has looked."""
        with self._looked:
            if self._looking:
                self._looked.wait(1.0)
                return
            self._looking = True
        try:
            if not self._take_receipts():
                time.sleep(self.chain.engine.poll_seconds)
                if time.monotonic() - self._resent_at >= self._resend_seconds:
                    self._resend()
        except (ChainUnreachable, ChainAnswerInvalid):
            # It may come back before the waiting caller's deadline, which ends the wait if it does not.
            time.sleep(10 * self.chain.engine.poll_seconds)
        finally:
            with self._looked:
                self._looking = False
                self._looked.notify_all()

    def _take_receipts(self) -> bool:
        """Takes in what became final; whether anything did."""
        waiting = self._flight.ordered()
        receipts = self.chain.receipts([entry.hash for entry in waiting])
        landed: dict[int, bytes] = {}
        for entry, receipt in zip(waiting, receipts, strict=True):
            final = self._final(receipt)
            if final is not None:
                landed[entry.nonce] = entry.hash
                self._landed, self._landed_at = max(self._landed, entry.nonce + 1), time.monotonic()
                self._fates.forget(entry.hash)
                self._flight.remove(entry.hash, final)
        for entry in waiting:
            if landed.get(entry.nonce, entry.hash) != entry.hash:
                self._flight.remove(entry.hash)
        return bool(landed)

    def _final(self, receipt: Receipt | None) -> Receipt | None:
        if receipt is None or self.chain.engine.mined_is_final:
            return receipt
        if receipt.block_number > self.chain.final_block().number:
            return None
        return receipt if self.chain.block(receipt.block_number).hash == receipt.block_hash else None

    def _why(self, receipt: Receipt, submitted: Submission | bytes) -> ContractRefused:
        """Asks the contract again, after and before the block, for the reason that a receipt does not have."""
        if isinstance(submitted, Submission) and submitted.to is not None:
            for block in (receipt.block_number, receipt.block_number - 1):
                try:
                    self.chain.call(submitted.to, submitted.data, block, self.address)
                except RpcRefused as error:
                    return refusal(error.data)
        hash_ = receipt.transaction_hash.hex()
        words = f"transaction 0x{hash_} was mined and reverted, having used {receipt.gas_used} gas"
        return ContractRefused("Unknown", {"data": b""}, words)
