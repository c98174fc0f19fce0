"""What each wrap is bound to: a label, then fields of fixed widths, so that no two meanings share bytes.

Every ``*_info`` below is an HPKE ``info``; integers are big-endian. Layouts: docs/envelope.md.
"""

from dataclasses import dataclass

from crypto.canonical import Fields
from crypto.errors import FormatError
from crypto.fields import (
    ADDRESS_BYTES,
    CHAIN_ID_BITS,
    DIGEST_BYTES,
    EPOCH_BITS,
    GENERATION_BITS,
    require_octets,
    require_uint,
)
from crypto.labels import Label
from vocabulary import Category


@dataclass(frozen=True, slots=True)
class RecordIdentity:
    """Which record this is: on which ledger, of which patient, by which author, of which category.

    Addresses are 20 bytes, ``record_id`` is 32, ``chain_id`` at most 64 bits (EIP-155). ``contract`` is the
    contract that the record was born under, for ever.
    """

    chain_id: int
    contract: bytes
    record_id: bytes
    patient: bytes
    author: bytes
    category: Category

    def __post_init__(self) -> None:
        require_uint("chain id", self.chain_id, CHAIN_ID_BITS)
        require_octets("contract", self.contract, ADDRESS_BYTES)
        require_octets("record id", self.record_id, DIGEST_BYTES)
        require_octets("patient", self.patient, ADDRESS_BYTES)
        require_octets("author", self.author, ADDRESS_BYTES)
        object.__setattr__(self, "category", read_category("category", self.category))

    def to_bytes(self) -> bytes:
        """The identity in 101 bytes: chain id 8, contract 20, record 32, patient 20, author 20, category 1."""
        return b"".join(
            (
                self.chain_id.to_bytes(8),
                self.contract,
                self.record_id,
                self.patient,
                self.author,
                self.category.to_bytes(1),
            )
        )


def read_category(name: str, value: object) -> Category:
    """A category by its number.

    Raises:
        FormatError: there is no category of that number.
    """
    number = require_uint(name, value, 5)
    try:
        return Category(number)
    except ValueError:
        raise FormatError(
            f"{name}: expected a category of 0 to {max(Category).value}; came {number}"
        ) from None


def category_field(fields: Fields, name: str = "category") -> Category:
    """The category in a document's field."""
    return read_category(name, fields.uint(name, 5))


def record_context(identity: RecordIdentity, *, streamed: bool = False) -> bytes:
    """The context of the record's content encryption (Cobblestone-256): it also tells the payload's layout."""
    label = Label.STREAMED_CONTENT if streamed else Label.RECORD_CONTENT
    return label.prefix + identity.to_bytes()


def owner_wrap_info(identity: RecordIdentity, recipient: bytes, ciphertext_digest: bytes) -> bytes:
    """Binds the data key to the record, the owner key's digest (32) and the ciphertext's SHA-256 (32)."""
    return Label.OWNER_WRAP.prefix + _record_fields(identity, recipient, ciphertext_digest)


def consent_wrap_info(
    identity: RecordIdentity, epoch: int, recipient: bytes, ciphertext_digest: bytes
) -> bytes:
    """Binds the consent share, besides, to the keyring's epoch (16 bits)."""
    return b"".join(
        (
            Label.CONSENT_WRAP.prefix,
            _record_fields(identity, recipient, ciphertext_digest),
            require_uint("epoch", epoch, EPOCH_BITS).to_bytes(2),
        )
    )


def custody_wrap_info(
    identity: RecordIdentity,
    generation: int,
    share_index: int,
    custodian: bytes,
    recipient: bytes,
    ciphertext_digest: bytes,
) -> bytes:
    """Binds a share, besides, to the custody generation (32 bits), its index (8 bits) and its custodian (20)."""
    return b"".join(
        (
            Label.CUSTODY_WRAP.prefix,
            _record_fields(identity, recipient, ciphertext_digest),
            require_uint("custody generation", generation, GENERATION_BITS).to_bytes(4),
            require_uint("share index", share_index, 8).to_bytes(1),
            require_octets("custodian", custodian, ADDRESS_BYTES),
        )
    )


def journal_wrap_info(identity: RecordIdentity, recipient: bytes, ciphertext_digest: bytes) -> bytes:
    """Binds the consent share that an author keeps, sealed to itself, until its publish is final."""
    return Label.JOURNAL_WRAP.prefix + _record_fields(identity, recipient, ciphertext_digest)


def _record_fields(identity: RecordIdentity, recipient: bytes, ciphertext_digest: bytes) -> bytes:
    return b"".join(
        (
            identity.to_bytes(),
            require_octets("recipient's key digest", recipient, DIGEST_BYTES),
            require_octets("ciphertext digest", ciphertext_digest, DIGEST_BYTES),
        )
    )
