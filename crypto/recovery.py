"""The recovery phrase: 24 words on paper that unlock the vault's backup, and nothing else.

Keys that open records are random and lie inside the backup: so that deleting one deletes it, whatever the paper.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from mnemonic import Mnemonic

from crypto.errors import RecoveryPhraseError
from crypto.fields import SECRET_BYTES, require_octets
from crypto.labels import Label

WORD_COUNT = 24

_ENTROPY_BYTES = 32
_MAX_TEXT_CHARACTERS = 1024


@dataclass(frozen=True, slots=True)
class BackupKeys:
    """What a phrase gives: where the backup lies, the key that opens it (32), the Ed25519 seed that signs it (32).

    ``locator`` is SHA-256 of label and zero, and the Ed25519 public key: a node that stores a backup can check
    who may replace it, and learns nothing else.
    """

    locator: bytes
    encryption_key: bytes = field(repr=False)
    signing_seed: bytes = field(repr=False)


class RecoveryPhrase:
    """24 words of BIP-39's English list: 256 random bits and a checksum. Its repr shows no word."""

    def __init__(self, entropy: bytes) -> None:
        self._entropy = require_octets("entropy", entropy, _ENTROPY_BYTES)

    @classmethod
    def generate(cls) -> "RecoveryPhrase":
        """A fresh random phrase."""
        return cls(secrets.token_bytes(_ENTROPY_BYTES))

    @classmethod
    def parse(cls, text: str) -> "RecoveryPhrase":
        """The phrase that a person typed: any case, any white space between words.

        Raises:
            RecoveryPhraseError: it is none; the message says which word to look at, without showing it.
        """
        if len(text) > _MAX_TEXT_CHARACTERS:
            raise RecoveryPhraseError(f"expected {WORD_COUNT} words; came a text that is too long")
        words = Mnemonic.normalize_string(text).lower().split()
        if len(words) != WORD_COUNT:
            raise RecoveryPhraseError(
                f"expected {WORD_COUNT} words; came {len(words)}. Check for words left out or joined"
            )
        known = _numbers()
        unknown = [str(position) for position, word in enumerate(words, start=1) if word not in known]
        if unknown:
            raise RecoveryPhraseError(
                f"expected words of the list; not in it: word {', '.join(unknown)}. Check the spelling on the paper"
            )
        try:
            return cls(bytes(_english().to_entropy(words)))
        except ValueError:
            raise RecoveryPhraseError(
                "every word is in the list, but together they are not a phrase: "
                "one was read wrongly, or two stand in the wrong order"
            ) from None

    @property
    def words(self) -> tuple[str, ...]:
        """The 24 words, to be shown once and written on paper."""
        return tuple(_english().to_mnemonic(self._entropy).split())

    def backup_keys(self) -> BackupKeys:
        """The keys of the backup: HKDF-SHA256 of BIP-39's 64-byte seed (no passphrase), a label for each."""
        seed = Mnemonic.to_seed(" ".join(self.words))
        signing_seed = _derive(seed, Label.BACKUP_SIGNING_KEY)
        public = Ed25519PrivateKey.from_private_bytes(signing_seed).public_key().public_bytes_raw()
        return BackupKeys(backup_locator(public), _derive(seed, Label.BACKUP_ENCRYPTION_KEY), signing_seed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecoveryPhrase) and secrets.compare_digest(self._entropy, other._entropy)

    def __hash__(self) -> int:
        return hash(self._entropy)

    def __repr__(self) -> str:
        return f"RecoveryPhrase({WORD_COUNT} words)"


def backup_locator(signing_public: bytes) -> bytes:
    """Where the backup of an Ed25519 public key (32 bytes) lies: SHA-256 of label and zero, and the key."""
    return hashlib.sha256(
        Label.BACKUP_LOCATOR.prefix + require_octets("signing key", signing_public, SECRET_BYTES)
    ).digest()


def _derive(seed: bytes, label: Label) -> bytes:
    return HKDF(algorithm=SHA256(), length=SECRET_BYTES, salt=None, info=label.prefix).derive(seed)


@lru_cache(maxsize=1)
def _english() -> Mnemonic:
    return Mnemonic("english")


@lru_cache(maxsize=1)
def _numbers() -> frozenset[str]:
    return frozenset(_english().wordlist)
