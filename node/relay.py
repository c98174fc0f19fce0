"""Relaying what patients signed to the ledger: patients send no transactions, any member does it for them.

The messages of one request are of one patient. What is on the ledger already counts as final, so that a wallet may
repeat a request after any failure.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ledger import calls
from ledger.blocks import Receipt
from ledger.entities import ConsentStatus, PatientStatus, RecordStatus
from ledger.errors import ContractRefused
from ledger.events import RelayItemSkipped, decode
from ledger.messages import (
    DenyPolicy,
    Freeze,
    Grant,
    KeyringRotation,
    RelationshipEnd,
    Restriction,
    Revocation,
    SignedMessage,
    consent_id,
    from_json,
    recover,
)
from ledger.refusals import refusal
from ledger.sender import Sender
from ledger.state import LedgerState
from node.errors import InvalidRequest, NotAllowed
from node.ledger_view import LedgerView
from node.views import block_reference
from wire.patients import RelayOutcome, RelayRequest, RelayResponse
from wire.patients import SignedMessage as WireMessage

FINAL_SECONDS = 60.0
_CALLS: dict[type[SignedMessage], Callable[[Any, bytes], bytes]] = {
    KeyringRotation: calls.rotate_keyring,
    DenyPolicy: calls.change_deny_policy,
    RelationshipEnd: calls.end_relationship,
    Freeze: calls.freeze_patient,
    Restriction: calls.restrict_record,
    Grant: calls.grant,
    Revocation: calls.revoke,
}
_KINDS = {kind.__name__: kind for kind in _CALLS}


@dataclass(frozen=True, slots=True)
class _Item:
    """A message whose signature holds, and the call that carries it."""

    message: SignedMessage
    call_data: bytes


class Relay:
    """Sends patients' messages from this member's account, and says what became of each."""

    def __init__(self, ledger: LedgerView, sender: Sender) -> None:
        self._ledger = ledger
        self._sender = sender

    def relay(self, patient: bytes, request: RelayRequest) -> RelayResponse:
        """Brings the messages of one patient on the ledger, in order, in one transaction, and waits until final.

        Raises:
            InvalidRequest: a kind that is not relayed, or a message that is not as agreed.
            NotAllowed: a message of another patient, or not signed by the patient. Nothing is sent then.
            ledger.NotFinal: not final in time; repeating the request finds out.
        """
        items = [self._checked(patient, message) for message in request.messages]
        before = self._ledger.snapshot().state
        open_items = [index for index, item in enumerate(items) if not _is_effective(before, item.message)]
        refusals: dict[int, str] = {}
        receipt: Receipt | None = None
        if len(open_items) == 1:
            try:
                receipt = self._send(items[open_items[0]].call_data)
            except ContractRefused as error:
                refusals[open_items[0]] = str(error)
        elif open_items:
            receipt = self._send(calls.relay([items[index].call_data for index in open_items]))
            refusals = {open_items[place]: words for place, words in _skipped(receipt).items()}
        return self._response(items, refusals, receipt)

    def _send(self, call_data: bytes) -> Receipt:
        return self._sender.send(self._ledger.scope.contract, call_data)

    def _response(
        self, items: list[_Item], refusals: dict[int, str], receipt: Receipt | None
    ) -> RelayResponse:
        # What refused a message may be the same message, relayed by another member: look at what is final by now.
        number = self._sender.chain.final_block().number if receipt is None else receipt.block_number
        snapshot = self._ledger.wait_for_block(number, FINAL_SECONDS)
        outcomes = []
        for index, item in enumerate(items):
            final = _is_effective(snapshot.state, item.message) or (
                receipt is not None and index not in refusals
            )
            outcomes.append(RelayOutcome(final=final, refusal=None if final else refusals.get(index)))
        return RelayResponse(
            transaction_hash=None if receipt is None else receipt.transaction_hash,
            final=block_reference(snapshot.final),
            outcomes=tuple(outcomes),
        )

    def _checked(self, patient: bytes, signed: WireMessage) -> _Item:
        kind = _KINDS.get(signed.kind)
        if kind is None:
            raise InvalidRequest(f"expected a message of {', '.join(_KINDS)}; came {signed.kind[:40]!r}")
        message = from_json(kind, signed.message)
        if getattr(message, "patient", None) != patient:
            raise NotAllowed("expected only messages of the patient who asks", code="other-patient")
        if recover(self._ledger.scope, message, signed.signature) != patient:
            raise NotAllowed(
                f"the {signed.kind} is not signed by the patient for this ledger", code="signature-invalid"
            )
        return _Item(message, _CALLS[kind](message, signed.signature))


def _skipped(receipt: Receipt) -> dict[int, str]:
    """The contract's words for each item of a relay that it skipped, by the item's place."""
    skipped = {}
    for log in receipt.logs:
        event = decode(log)
        if isinstance(event, RelayItemSkipped):
            skipped[event.index] = str(refusal(event.reason))
    return skipped


def _is_effective(state: LedgerState, message: SignedMessage) -> bool:
    """Whether the ledger says already what the message asks for."""
    match message:
        case Grant() | Revocation():
            consent = state.consents.get(
                consent_id(state.scope, message.patient, message.grantee, message.record_id, message.nonce)
            )
            wanted = ConsentStatus.GRANTED if isinstance(message, Grant) else ConsentStatus.REVOKED
            if consent is None or consent.status is not wanted:
                return False
            terms = (
                "categories",
                "purposes",
                "valid_from",
                "valid_until",
                "data_from",
                "data_until",
                "max_uses",
            )
            return isinstance(message, Revocation) or all(
                getattr(consent, term) == getattr(message, term) for term in terms
            )
        case Restriction():
            record = state.records.get(message.record_id)
            return (
                record is not None
                and record.patient == message.patient
                and record.status_nonce == message.nonce
                and (RecordStatus.RESTRICTED in record.status) is message.restricted
            )
    patient = state.patients.get(getattr(message, "patient", b""))
    if patient is None:
        return False
    match message:
        case KeyringRotation():
            digests = patient.keyring_digests
            return len(digests) >= message.epoch >= 1 and digests[message.epoch - 1] == message.keyring_digest
        case DenyPolicy():
            stored = (patient.policy_nonce, patient.deny_categories, patient.deny_purposes)
            return stored == (message.nonce, message.categories, message.purposes)
        case RelationshipEnd():
            return patient.status is PatientStatus.RELATIONSHIP_ENDED
        case Freeze():
            return patient.status is PatientStatus.FROZEN
    return False
