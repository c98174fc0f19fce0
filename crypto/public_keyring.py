"""The public keyring: a document of a pseudonym's encryption keys, whose SHA-256 is on the ledger.

Its epoch counts its versions. A category's key is in force from the epoch at which it was made until the epoch
before its successor's.
"""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

from crypto import canonical
from crypto.binding import category_field, read_category
from crypto.errors import EpochError, FormatError
from crypto.fields import (
    ADDRESS_BYTES,
    CHAIN_ID_BITS,
    EPOCH_BITS,
    require_octets,
    require_uint,
)
from crypto.hpke import PUBLIC_KEY_BYTES
from crypto.labels import Label
from vocabulary import Category

MAX_KEYRING_BYTES = 64 * 2**10
MAX_CATEGORIES = 32


@dataclass(frozen=True, slots=True)
class CategoryKey:
    """A category's public key (1216 bytes), in force since ``epoch_from``."""

    category: Category
    public: bytes = field(repr=False)
    epoch_from: int

    def __post_init__(self) -> None:
        read_category("category", self.category)
        require_octets(f"key of {self.category.label}", self.public, PUBLIC_KEY_BYTES)
        require_uint("epoch", self.epoch_from, EPOCH_BITS)


@dataclass(frozen=True)
class Keyring:
    """The public keyring of one pseudonym at one epoch; categories in the order of their numbers."""

    chain_id: int
    contract: bytes
    patient: bytes
    epoch: int
    owner_public: bytes = field(repr=False)
    categories: tuple[CategoryKey, ...]

    def __post_init__(self) -> None:
        check_scope(self.chain_id, self.contract, self.patient, self.epoch)
        require_octets("owner key", self.owner_public, PUBLIC_KEY_BYTES)
        numbers = [entry.category for entry in self.categories]
        if numbers != sorted(set(numbers)):
            raise FormatError(
                "keyring: expected each category once, in the order of their numbers; came others"
            )
        for entry in self.categories:
            if entry.epoch_from > self.epoch:
                raise FormatError(
                    f"keyring: expected keys in force since epoch {self.epoch} or before; "
                    f"came {entry.category.label} since {entry.epoch_from}"
                )

    def to_bytes(self) -> bytes:
        """The canonical bytes, about 1.3 kB for each category."""
        return canonical.encode(
            Label.KEYRING,
            {
                "chainId": self.chain_id,
                "contract": self.contract,
                "patient": self.patient,
                "epoch": self.epoch,
                "ownerKey": self.owner_public,
                "categories": [
                    {"category": entry.category.value, "key": entry.public, "epochFrom": entry.epoch_from}
                    for entry in self.categories
                ],
            },
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Keyring":
        """The keyring in ``data``; compare ``digest`` with the ledger's before using a key of it.

        Raises:
            FormatError: it is not the canonical encoding of a keyring, or over 64 KiB.
        """
        fields = canonical.decode(data, Label.KEYRING, MAX_KEYRING_BYTES)
        entries = []
        for entry in fields.maps("categories", MAX_CATEGORIES):
            entries.append(
                CategoryKey(
                    category=category_field(entry),
                    public=entry.octets("key", PUBLIC_KEY_BYTES),
                    epoch_from=entry.uint("epochFrom", EPOCH_BITS),
                )
            )
            entry.done()
        keyring = cls(
            chain_id=fields.uint("chainId", CHAIN_ID_BITS),
            contract=fields.octets("contract", ADDRESS_BYTES),
            patient=fields.octets("patient", ADDRESS_BYTES),
            epoch=fields.uint("epoch", EPOCH_BITS),
            owner_public=fields.octets("ownerKey", PUBLIC_KEY_BYTES),
            categories=tuple(entries),
        )
        fields.done()
        return keyring

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes, 32 bytes: what the ledger holds."""
        return hashlib.sha256(self.to_bytes()).digest()

    def category_public(self, category: Category) -> bytes:
        """The current public key of ``category``, 1216 bytes.

        Raises:
            EpochError: the keyring has no key for it; the patient's wallet must rotate it in first.
        """
        for entry in self.categories:
            if entry.category == category:
                return entry.public
        raise EpochError(
            f"expected a key for {category.label} in the keyring of epoch {self.epoch}; it has none. "
            "The patient adds one by a rotation"
        )


def check_scope(chain_id: int, contract: bytes, patient: bytes, epoch: int) -> None:
    """Refuses a scope whose values have other sizes.

    Raises:
        FormatError: one has.
    """
    require_uint("chain id", chain_id, CHAIN_ID_BITS)
    require_octets("contract", contract, ADDRESS_BYTES)
    require_octets("patient", patient, ADDRESS_BYTES)
    require_uint("epoch", epoch, EPOCH_BITS)
