"""The deployed contract: its views at any block, and simulation of calls. Call data is made by ``ledger.calls``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from ledger.blocks import Log
from ledger.calls import function_call
from ledger.chain import BlockId, Chain
from ledger.errors import ChainAnswerInvalid, RpcRefused
from ledger.messages import LedgerScope
from ledger.refusals import refusal

VIEW_BATCH = 2_000
"""How many words one call of a view asks for: about 64 kB each way."""


@dataclass(frozen=True, slots=True)
class MemberKeyDigests:
    """What the contract keeps of a member's keys (32 bytes each)."""

    encryption_key_digest: bytes
    transport_key: bytes
    profile_digest: bytes


class ConsentLedger:
    """The contract at ``address`` (20 bytes) on ``chain``.

    Views take a block: a number, a hash (32 bytes) or None for the latest final one. All answers come in the order
    asked, and unknown things are words of 0. Methods raise what :class:`Chain` raises; those that run the contract
    raise ContractRefused with the contract's own error.
    """

    def __init__(self, chain: Chain, address: bytes) -> None:
        self.chain = chain
        self.address = address

    def scope(self) -> LedgerScope:
        """Where messages for this contract count."""
        return LedgerScope(self.chain.chain_id(), self.address)

    def simulate(self, call_data: bytes, sender: bytes, block: BlockId = None) -> bytes:
        """What a transaction of ``sender`` would return at a block; ContractRefused with the reason if it reverted."""
        try:
            return self.chain.call(self.address, call_data, block, sender)
        except RpcRefused as error:
            if error.data or "revert" in error.message.lower():
                raise refusal(error.data) from error
            raise

    def administrator(self, block: BlockId = None) -> bytes:
        """The account that enrols members and may seal."""
        return bytes.fromhex(self._view("administrator", [], [], ["address"], block)[0][2:])

    def minimum_threshold(self, block: BlockId = None) -> int:
        """The least number of shares that may open a record."""
        return int(self._view("minimumThreshold", [], [], ["uint8"], block)[0])

    def successor(self, block: BlockId = None) -> bytes:
        """The ledger that follows this one; 20 zero bytes while this one is open."""
        return bytes.fromhex(self._view("successor", [], [], ["address"], block)[0][2:])

    def member_words(self, members: Sequence[bytes], block: BlockId = None) -> list[int]:
        """The members' packed words (``Member.word``)."""
        return self._words("memberWords", "address", members, block)

    def member_key_digests(self, member: bytes, block: BlockId = None) -> MemberKeyDigests:
        """The digests of one member's current keys; zeros for a stranger."""
        found = self._view(
            "memberKeyDigests", ["address"], [member], ["bytes32", "bytes32", "bytes32"], block
        )
        return MemberKeyDigests(*found)

    def patient_words(self, patients: Sequence[bytes], block: BlockId = None) -> list[int]:
        """The patients' packed words (``Patient.word``)."""
        return self._words("patientWords", "address", patients, block)

    def keyring_digests(self, patients: Sequence[bytes], block: BlockId = None) -> list[bytes]:
        """The digests of the patients' current keyrings."""
        return self._many("keyringDigests", "address", patients, "bytes32", block)

    def record_words(self, record_ids: Sequence[bytes], block: BlockId = None) -> list[int]:
        """The records' packed words (``Record.word``)."""
        return self._words("recordWords", "bytes32", record_ids, block)

    def author_words(self, authors: Sequence[bytes], block: BlockId = None) -> list[int]:
        """The heads of the authors' chains (``ledger.heads``)."""
        return self._words("authorWords", "address", authors, block)

    def consent_words(self, consent_ids: Sequence[bytes], block: BlockId = None) -> list[int]:
        """The consents' packed words (``Consent.word``)."""
        return self._words("consentWords", "bytes32", consent_ids, block)

    def access_words(self, patients: Sequence[bytes], block: BlockId = None) -> list[int]:
        """The heads of the patients' access chains (``ledger.heads``)."""
        return self._words("accessWords", "address", patients, block)

    def logs(self, from_block: int, to_block: int) -> list[Log]:
        """The contract's logs of a range of blocks, both ends included, in order."""
        return self.chain.logs(self.address, from_block, to_block)

    def _words(self, name: str, kind: str, asked: Sequence[bytes], block: BlockId) -> list[int]:
        return self._many(name, kind, asked, "uint256", block)

    def _many(self, name: str, kind: str, asked: Sequence[bytes], answer: str, block: BlockId) -> list[Any]:
        if not asked:
            return []
        if block is None:
            block = self.chain.final_block().hash
        found: list[Any] = []
        for start in range(0, len(asked), VIEW_BATCH):
            some = list(asked[start : start + VIEW_BATCH])
            (answers,) = self._view(name, [kind + "[]"], [some], [answer + "[]"], block)
            if len(answers) != len(some):
                raise ChainAnswerInvalid(f"{name}: asked for {len(some)} words; {len(answers)} came")
            found.extend(answers)
        return found

    def _view(
        self, name: str, types: Sequence[str], values: Sequence[Any], answers: Sequence[str], block: BlockId
    ) -> tuple[Any, ...]:
        try:
            returned = self.chain.call(self.address, function_call(name, types, values), block)
        except RpcRefused as error:
            if error.data:
                raise refusal(error.data) from error
            raise
        try:
            return decode(answers, returned)
        except (DecodingError, ValueError) as error:
            raise ChainAnswerInvalid(
                f"{name} of the contract at 0x{self.address.hex()} returned {len(returned)} bytes that are no "
                f"{', '.join(answers)}: is the contract at this address?"
            ) from error
