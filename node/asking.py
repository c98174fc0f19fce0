"""Asking the ledger for access: the person's commitment first, then the transaction, then the final decisions."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from crypto.hpke import EncryptionKey
from crypto.person import person_commitment
from ledger import calls, events
from ledger.blocks import Receipt
from ledger.messages import AccessRequest
from node.collaborators import Ledger, Openings, OwnKeys, StaffPerson, Transactor
from node.consent_choice import ChosenConsent, group
from node.errors import UpstreamFailed
from node.stopwatch import Stopwatch
from vocabulary import Purpose

FINAL_SECONDS = 30.0
SALT_BYTES = 32


@dataclass(frozen=True, slots=True)
class Asked:
    """What the ledger decided, by record id, and the one key that shares may be sealed to."""

    transaction_hash: bytes
    response_key: EncryptionKey = field(repr=False)
    accesses: dict[bytes, events.LoggedAccess]


class AccessAsker:
    """Logs requests of this member's staff on the ledger."""

    def __init__(self, keys: OwnKeys, ledger: Ledger, openings: Openings, sender: Transactor) -> None:
        self._keys = keys
        self._ledger = ledger
        self._openings = openings
        self._sender = sender

    def ask(
        self, chosen: Sequence[ChosenConsent], purpose: Purpose, person: StaffPerson, watch: Stopwatch
    ) -> Asked:
        """Asks for all of ``chosen`` in one transaction, and waits until it is final.

        Who asks is durable in the openings before anything can reach the ledger.

        Raises:
            ledger.ContractRefused: a record or this member is unknown to the contract.
            ledger.NotFinal, ledger.ChainUnreachable: the ledger did not take it in time.
        """
        response_key = EncryptionKey.generate()
        salt = secrets.token_bytes(SALT_BYTES)
        commitment = person_commitment(salt, self._keys.address, person.staff_id, person.role)
        with watch.step("person"):
            self._openings.remember(commitment, salt, person.staff_id, person.role)
        call = _call(chosen, purpose, response_key.digest, commitment)
        with watch.step("ledger"):
            receipt = self._sender.send(self._ledger.scope.contract, call)
            self._ledger.wait_for_block(receipt.block_number, FINAL_SECONDS)
        accesses = self._accesses(receipt)
        for each in chosen:
            logged = accesses.get(each.record.record_id)
            if logged is None or logged.access.response_key_digest != response_key.digest:
                raise UpstreamFailed(
                    f"transaction 0x{receipt.transaction_hash.hex()} logged no decision for record "
                    f"0x{each.record.record_id.hex()}: verify the ledger"
                )
        return Asked(receipt.transaction_hash, response_key, accesses)

    def _accesses(self, receipt: Receipt) -> dict[bytes, events.LoggedAccess]:
        found: dict[bytes, events.LoggedAccess] = {}
        for log in receipt.logs:
            if log.address != self._ledger.scope.contract:
                continue
            event = events.decode(log)
            if isinstance(event, events.AccessEvent):
                found.update({one.record_id: one for one in events.accesses(event)})
        return found


def _call(
    chosen: Sequence[ChosenConsent], purpose: Purpose, response_key_digest: bytes, commitment: bytes
) -> bytes:
    if len(chosen) > 1:
        groups = [access_group for access_group, _ in group(chosen)]
        return calls.request_access_batch(purpose, response_key_digest, commitment, groups)
    (one,) = chosen
    return calls.request_access(
        AccessRequest(
            record_id=one.record.record_id,
            consent_nonce=one.nonce,
            record_scope=one.record_scope,
            purpose=purpose,
            response_key_digest=response_key_digest,
            person_commitment=commitment,
        )
    )
