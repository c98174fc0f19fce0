"""Releases: a custodian's answer to a permitted access, sealed to that access's fresh key, and its receipt."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

from crypto import canonical
from crypto.errors import FormatError, OpenError
from crypto.fields import (
    ADDRESS_BYTES,
    CHAIN_ID_BITS,
    DIGEST_BYTES,
    GENERATION_BITS,
    SEQUENCE_BITS,
    require_octets,
    require_uint,
)
from crypto.hpke import OVERHEAD_BYTES, EncryptionKey, key_digest, seal
from crypto.labels import Label
from crypto.shamir import SHARE_BYTES
from crypto.signer import Signer
from crypto.statement import sign_statement, verify_statement

MAX_RECEIPT_BYTES = 2048

_WRAP_BYTES = OVERHEAD_BYTES + SHARE_BYTES
_TIME_BITS = 40
_BLOCK_BITS = 64


@dataclass(frozen=True, slots=True)
class ReleaseBinding:
    """Which share is released against which entry of the access log.

    Attributes:
        sequence: the permit's number in the patient's hash chain, 32 bits.
        share_index: 1..n, the custodian's position in the header.
        custodian: the releasing member's account, 20 bytes.
    """

    chain_id: int
    contract: bytes
    patient: bytes
    sequence: int
    record_id: bytes
    share_index: int
    generation: int
    custodian: bytes

    def __post_init__(self) -> None:
        require_uint("chain id", self.chain_id, CHAIN_ID_BITS)
        require_octets("contract", self.contract, ADDRESS_BYTES)
        require_octets("patient", self.patient, ADDRESS_BYTES)
        require_uint("sequence", self.sequence, SEQUENCE_BITS)
        require_octets("record id", self.record_id, DIGEST_BYTES)
        require_uint("share index", self.share_index, 8)
        require_uint("custody generation", self.generation, GENERATION_BITS)
        require_octets("custodian", self.custodian, ADDRESS_BYTES)

    def info(self, response_key_digest: bytes) -> bytes:
        """The HPKE info: label and zero, chain id 8, contract 20, patient 20, sequence 4, record id 32,
        share index 1, generation 4, custodian 20, response key digest 32.
        """
        return b"".join(
            (
                Label.RELEASE.prefix,
                self.chain_id.to_bytes(8),
                self.contract,
                self.patient,
                self.sequence.to_bytes(4),
                self.record_id,
                self.share_index.to_bytes(1),
                self.generation.to_bytes(4),
                self.custodian,
                require_octets("response key digest", response_key_digest, DIGEST_BYTES),
            )
        )


@dataclass(frozen=True, slots=True)
class Release:
    """What a release holds: the custodian's share (32 bytes) and the record's consent_wrap (1168 bytes)."""

    share: bytes = field(repr=False)
    consent_wrap: bytes = field(repr=False)


def seal_release(share: bytes, consent_wrap: bytes, response_public: bytes, binding: ReleaseBinding) -> bytes:
    """Seals a share (32 bytes) and consent_wrap (1168 bytes) to the access's fresh key (1216 bytes).

    Raises:
        FormatError: a size is wrong.
    """
    require_octets("share", share, SHARE_BYTES)
    require_octets("consent_wrap", consent_wrap, _WRAP_BYTES)
    return seal(share + consent_wrap, response_public, binding.info(key_digest(response_public)))


def open_release(sealed: bytes, response_key: EncryptionKey, binding: ReleaseBinding) -> Release:
    """What a custodian released. ``share`` is still to be checked against the header (``wrong_shares``).

    Raises:
        OpenError: it is for another access, share, custodian or key, or was altered.
    """
    opened = response_key.open(sealed, binding.info(response_key.digest))
    if len(opened) != SHARE_BYTES + _WRAP_BYTES:
        raise OpenError(f"release: expected {SHARE_BYTES + _WRAP_BYTES} bytes inside; came {len(opened)}")
    return Release(opened[:SHARE_BYTES], opened[SHARE_BYTES:])


@dataclass(frozen=True)
class ReleaseReceipt:
    """A custodian's evidence: who released what to whom, against which permit, seeing which block, and when.

    Attributes:
        requester: the member that got it, 20 bytes.
        consent_id: the consent that the permit names, 32 bytes.
        response_key_digest: SHA-256 of the access's fresh key, as in the permit.
        header_digest: the record's header, as on the ledger.
        sealed_digest: SHA-256 of the sealed release.
        block_number: the custodian's latest final block when it decided, and ``block_hash``, its hash.
        released_at_seconds: the custodian's clock, seconds since 1970-01-01 UTC.
    """

    binding: ReleaseBinding
    requester: bytes
    consent_id: bytes
    response_key_digest: bytes
    header_digest: bytes
    sealed_digest: bytes
    block_number: int
    block_hash: bytes
    released_at_seconds: int

    def __post_init__(self) -> None:
        require_octets("requester", self.requester, ADDRESS_BYTES)
        for name in ("consent_id", "response_key_digest", "header_digest", "sealed_digest", "block_hash"):
            require_octets(name, getattr(self, name), DIGEST_BYTES)
        require_uint("block number", self.block_number, _BLOCK_BITS)
        require_uint("time of release", self.released_at_seconds, _TIME_BITS)

    def to_bytes(self) -> bytes:
        """The canonical bytes: what is signed."""
        binding = self.binding
        return canonical.encode(
            Label.RELEASE_RECEIPT,
            {
                "chainId": binding.chain_id,
                "contract": binding.contract,
                "patient": binding.patient,
                "sequence": binding.sequence,
                "recordId": binding.record_id,
                "shareIndex": binding.share_index,
                "generation": binding.generation,
                "custodian": binding.custodian,
                "requester": self.requester,
                "consentId": self.consent_id,
                "responseKeyDigest": self.response_key_digest,
                "headerDigest": self.header_digest,
                "sealedDigest": self.sealed_digest,
                "blockNumber": self.block_number,
                "blockHash": self.block_hash,
                "releasedAtSeconds": self.released_at_seconds,
            },
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "ReleaseReceipt":
        """The receipt in ``data``; ``verify_receipt`` says whether its custodian made it.

        Raises:
            FormatError: it is not the canonical encoding of a receipt, or over 2 KiB.
        """
        fields = canonical.decode(data, Label.RELEASE_RECEIPT, MAX_RECEIPT_BYTES)
        receipt = cls(
            binding=ReleaseBinding(
                chain_id=fields.uint("chainId", CHAIN_ID_BITS),
                contract=fields.octets("contract", ADDRESS_BYTES),
                patient=fields.octets("patient", ADDRESS_BYTES),
                sequence=fields.uint("sequence", SEQUENCE_BITS),
                record_id=fields.octets("recordId", DIGEST_BYTES),
                share_index=fields.uint("shareIndex", 8),
                generation=fields.uint("generation", GENERATION_BITS),
                custodian=fields.octets("custodian", ADDRESS_BYTES),
            ),
            requester=fields.octets("requester", ADDRESS_BYTES),
            consent_id=fields.octets("consentId", DIGEST_BYTES),
            response_key_digest=fields.octets("responseKeyDigest", DIGEST_BYTES),
            header_digest=fields.octets("headerDigest", DIGEST_BYTES),
            sealed_digest=fields.octets("sealedDigest", DIGEST_BYTES),
            block_number=fields.uint("blockNumber", _BLOCK_BITS),
            block_hash=fields.octets("blockHash", DIGEST_BYTES),
            released_at_seconds=fields.uint("releasedAtSeconds", _TIME_BITS),
        )
        fields.done()
        return receipt

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes, 32 bytes."""
        return hashlib.sha256(self.to_bytes()).digest()


def sign_receipt(signer: Signer, receipt: ReleaseReceipt) -> bytes:
    """The custodian's 65-byte signature of its receipt.

    Raises:
        FormatError: ``signer`` is not the receipt's custodian.
    """
    if signer.address != receipt.binding.custodian:
        raise FormatError("receipt: expected its custodian to sign; came another account")
    return sign_statement(signer, Label.RELEASE_RECEIPT, receipt.to_bytes())


def verify_receipt(receipt: ReleaseReceipt, signature: bytes) -> None:
    """Checks that the custodian that a receipt names made it.

    Raises:
        SignatureError: it did not.
    """
    verify_statement(Label.RELEASE_RECEIPT, receipt.to_bytes(), signature, receipt.binding.custodian)
