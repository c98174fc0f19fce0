"""The secrets behind a keyring: the owner key, and every version of each category's key.

The public side, re-exported here, is ``crypto.public_keyring``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from crypto import canonical
from crypto.binding import category_field, read_category
from crypto.errors import EpochError, FormatError
from crypto.fields import (
    ADDRESS_BYTES,
    CHAIN_ID_BITS,
    EPOCH_BITS,
    SECRET_BYTES,
    require_uint,
)
from crypto.hpke import EncryptionKey
from crypto.labels import Label
from crypto.public_keyring import MAX_CATEGORIES, CategoryKey, Keyring, check_scope
from vocabulary import Category

FIRST_EPOCH = 1
MAX_EPOCH = 2**EPOCH_BITS - 1
MAX_KEYRING_SECRETS_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class CategorySecret:
    """One version of a category's key: in force from ``epoch_from`` to ``epoch_until`` inclusive.

    ``epoch_until`` is None while the key has no successor: it then covers later records too.
    """

    category: Category
    epoch_from: int
    epoch_until: int | None
    key: EncryptionKey

    def __post_init__(self) -> None:
        read_category("category", self.category)
        require_uint("epoch", self.epoch_from, EPOCH_BITS)
        if self.epoch_until is not None:
            require_uint("epoch", self.epoch_until, EPOCH_BITS)
            if self.epoch_until < self.epoch_from:
                raise FormatError(
                    f"epochs: expected from <= until; came {self.epoch_from}, {self.epoch_until}"
                )


@dataclass(frozen=True)
class KeyringSecrets:
    """The secrets behind a keyring: the owner key, and every version of each category's key.

    ``versions`` maps a category to pairs (epoch_from, key), ascending. All keys are random. This belongs into
    the patient's vault and nowhere else.
    """

    chain_id: int
    contract: bytes
    patient: bytes
    epoch: int
    owner: EncryptionKey
    versions: Mapping[Category, tuple[tuple[int, EncryptionKey], ...]]

    def __post_init__(self) -> None:
        check_scope(self.chain_id, self.contract, self.patient, self.epoch)
        for category, versions in self.versions.items():
            read_category("category", category)
            epochs = [epoch_from for epoch_from, _ in versions]
            if not epochs or epochs != sorted(set(epochs)) or epochs[-1] > self.epoch:
                raise FormatError(
                    f"keyring secrets: expected ascending epochs up to {self.epoch} for {category.label}; came {epochs}"
                )
        object.__setattr__(self, "versions", MappingProxyType(dict(sorted(self.versions.items()))))

    @classmethod
    def generate(
        cls,
        chain_id: int,
        contract: bytes,
        patient: bytes,
        categories: Iterable[Category],
        epoch: int = FIRST_EPOCH,
    ) -> "KeyringSecrets":
        """Fresh random keys for a new pseudonym."""
        versions = {category: ((epoch, EncryptionKey.generate()),) for category in categories}
        return cls(chain_id, contract, patient, epoch, EncryptionKey.generate(), versions)

    def rotate(self, categories: Iterable[Category]) -> "KeyringSecrets":
        """These secrets at the next epoch, with fresh keys for ``categories`` (new ones join); others carry over.

        Raises:
            EpochError: the 16-bit epoch is exhausted; the patient registers anew.
        """
        if self.epoch == MAX_EPOCH:
            raise EpochError(
                f"expected an epoch below {MAX_EPOCH}; the keyring cannot rotate again: register anew"
            )
        epoch = self.epoch + 1
        versions = dict(self.versions)
        for category in set(categories):
            versions[category] = (*versions.get(category, ()), (epoch, EncryptionKey.generate()))
        return KeyringSecrets(self.chain_id, self.contract, self.patient, epoch, self.owner, versions)

    def public(self) -> Keyring:
        """The keyring to publish at this epoch."""
        entries = tuple(
            CategoryKey(category, versions[-1][1].public, versions[-1][0])
            for category, versions in self.versions.items()
        )
        return Keyring(self.chain_id, self.contract, self.patient, self.epoch, self.owner.public, entries)

    def category_key_at(self, category: Category, epoch: int) -> EncryptionKey:
        """The key that was in force for ``category`` at ``epoch``.

        Raises:
            EpochError: there was none yet, or ``epoch`` is to come.
        """
        found = self.category_secrets(category, epoch, epoch) if epoch <= self.epoch else ()
        if not found:
            raise EpochError(
                f"expected an epoch at which {category.label} has a key, up to {self.epoch}; came {epoch}"
            )
        return found[0].key

    def category_secrets(
        self, category: Category, from_epoch: int = 0, until_epoch: int | None = None
    ) -> tuple[CategorySecret, ...]:
        """The versions of a category's key in force at any epoch from ``from_epoch`` to ``until_epoch`` inclusive.

        Without ``until_epoch``: to the current one, whose key is open-ended. A category without keys gives none.
        """
        versions = self.versions.get(category, ())
        found = []
        for position, (epoch_from, key) in enumerate(versions):
            epoch_until = versions[position + 1][0] - 1 if position + 1 < len(versions) else None
            starts_in_time = until_epoch is None or epoch_from <= until_epoch
            if starts_in_time and (epoch_until is None or epoch_until >= from_epoch):
                found.append(CategorySecret(category, epoch_from, epoch_until, key))
        return tuple(found)

    def to_bytes(self) -> bytes:
        """The canonical bytes, seeds included: for the vault only."""
        return canonical.encode(
            Label.KEYRING_SECRETS,
            {
                "chainId": self.chain_id,
                "contract": self.contract,
                "patient": self.patient,
                "epoch": self.epoch,
                "ownerSeed": self.owner.seed,
                "keys": [
                    {"category": category.value, "epochFrom": epoch_from, "seed": key.seed}
                    for category, versions in self.versions.items()
                    for epoch_from, key in versions
                ],
            },
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "KeyringSecrets":
        """The secrets that ``to_bytes`` wrote.

        Raises:
            FormatError: the bytes are not canonical.
        """
        fields = canonical.decode(data, Label.KEYRING_SECRETS, MAX_KEYRING_SECRETS_BYTES)
        versions: dict[Category, list[tuple[int, EncryptionKey]]] = {}
        for entry in fields.maps("keys", MAX_CATEGORIES * (MAX_EPOCH + 1)):
            key = EncryptionKey.from_seed(entry.octets("seed", SECRET_BYTES))
            versions.setdefault(category_field(entry), []).append((entry.uint("epochFrom", EPOCH_BITS), key))
            entry.done()
        secrets = cls(
            chain_id=fields.uint("chainId", CHAIN_ID_BITS),
            contract=fields.octets("contract", ADDRESS_BYTES),
            patient=fields.octets("patient", ADDRESS_BYTES),
            epoch=fields.uint("epoch", EPOCH_BITS),
            owner=EncryptionKey.from_seed(fields.octets("ownerSeed", SECRET_BYTES)),
            versions={category: tuple(entries) for category, entries in versions.items()},
        )
        fields.done()
        if secrets.to_bytes() != data:
            raise FormatError(
                "keyring secrets: expected keys in the order of category and epoch; came another order"
            )
        return secrets


__all__ = [
    "FIRST_EPOCH",
    "MAX_EPOCH",
    "CategoryKey",
    "CategorySecret",
    "Keyring",
    "KeyringSecrets",
]
