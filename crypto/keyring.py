"""The keyring: a pseudonym's public encryption keys, and the secrets behind them.

The public ``Keyring`` is a document whose SHA-256 is on the ledger; its epoch counts its versions. A category's
key is in force from the epoch at which it was made until the epoch before its successor's.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from crypto import canonical
from crypto.binding import category_field, read_category
from crypto.errors import EpochError, FormatError
from crypto.fields import (
    ADDRESS_BYTES,
    CHAIN_ID_BITS,
    EPOCH_BITS,
    SECRET_BYTES,
    require_octets,
    require_uint,
)
from crypto.hpke import PUBLIC_KEY_BYTES, EncryptionKey
from crypto.labels import Label
from vocabulary import Category

FIRST_EPOCH = 1
MAX_EPOCH = 2**EPOCH_BITS - 1
MAX_KEYRING_BYTES = 64 * 2**10
MAX_KEYRING_SECRETS_BYTES = 16 * 2**20

_MAX_CATEGORIES = 32


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
        _check_scope(self.chain_id, self.contract, self.patient, self.epoch)
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
        for entry in fields.maps("categories", _MAX_CATEGORIES):
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
        _check_scope(self.chain_id, self.contract, self.patient, self.epoch)
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
        for entry in fields.maps("keys", _MAX_CATEGORIES * (MAX_EPOCH + 1)):
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


def _check_scope(chain_id: int, contract: bytes, patient: bytes, epoch: int) -> None:
    require_uint("chain id", chain_id, CHAIN_ID_BITS)
    require_octets("contract", contract, ADDRESS_BYTES)
    require_octets("patient", patient, ADDRESS_BYTES)
    require_uint("epoch", epoch, EPOCH_BITS)
