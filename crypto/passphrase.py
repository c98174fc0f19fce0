"""Encryption under a passphrase: Argon2id (RFC 9106), then Cobblestone-256, which commits to its key.

Key commitment matters here: without it one file could be made to open under many passphrases, and a service
that opens files would answer many guesses at once.
"""

import secrets
import unicodedata
from dataclasses import dataclass

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from crypto import canonical
from crypto.errors import FormatError, PassphraseError
from crypto.labels import Label

SALT_BYTES = 16
MAX_MEMORY_KIB = 2**20
MAX_ITERATIONS = 16
MAX_LANES = 16
MAX_SCRYPT_N = 2**20

_KEY_BYTES = 32
_ENVELOPE_BYTES = 1024
_MAX_PASSPHRASE_BYTES = 1024


@dataclass(frozen=True, slots=True)
class PassphraseCost:
    """What one guess at a passphrase costs. The limits keep a hostile file from exhausting the reader.

    Attributes:
        memory_kib: Argon2id's memory.
        iterations: Argon2id's passes.
        lanes: Argon2id's parallelism.
        scrypt_n: the N of Web3 secret storage's scrypt, a power of two (r = 8, p = 1).
    """

    memory_kib: int = 64 * 2**10
    iterations: int = 3
    lanes: int = 4
    scrypt_n: int = 2**17

    def __post_init__(self) -> None:
        if not 8 * self.lanes <= self.memory_kib <= MAX_MEMORY_KIB:
            raise FormatError(
                f"cost: expected memory of 8 KiB a lane to {MAX_MEMORY_KIB} KiB; came {self.memory_kib}"
            )
        if not 1 <= self.iterations <= MAX_ITERATIONS or not 1 <= self.lanes <= MAX_LANES:
            raise FormatError(f"cost: expected 1 to {MAX_ITERATIONS} passes and lanes; came others")
        if not 2 <= self.scrypt_n <= MAX_SCRYPT_N or self.scrypt_n & (self.scrypt_n - 1):
            raise FormatError(
                f"cost: expected a power of two up to {MAX_SCRYPT_N} for scrypt; came {self.scrypt_n}"
            )


DEFAULT_COST = PassphraseCost()
"""RFC 9106's second recommendation (64 MiB, 3 passes, 4 lanes), and half of geth's scrypt cost."""


def passphrase_bytes(passphrase: str) -> bytes:
    """A passphrase as bytes: Unicode NFKC, so that another keyboard writes the same, in UTF-8.

    Raises:
        FormatError: it is empty or longer than 1024 bytes.
    """
    try:
        encoded = unicodedata.normalize("NFKC", passphrase).encode()
    except UnicodeEncodeError:
        raise FormatError("passphrase: expected characters that UTF-8 can carry; came others") from None
    if not 1 <= len(encoded) <= _MAX_PASSPHRASE_BYTES:
        raise FormatError(f"passphrase: expected 1 to {_MAX_PASSPHRASE_BYTES} bytes; came {len(encoded)}")
    return encoded


def seal_with_passphrase(content: bytes, passphrase: str, kind: Label, cost: PassphraseCost) -> bytes:
    """A document of ``kind`` that holds ``content`` under ``passphrase``, and the parameters to open it."""
    salt = secrets.token_bytes(SALT_BYTES)
    key = _derive(passphrase, salt, cost.memory_kib, cost.iterations, cost.lanes)
    encryptor = Cobblestone256Encryptor(key, kind.prefix)
    return canonical.encode(
        kind,
        {
            "kdf": "argon2id",
            "memoryKib": cost.memory_kib,
            "iterations": cost.iterations,
            "lanes": cost.lanes,
            "salt": salt,
            "ciphertext": encryptor.update(content) + encryptor.finalize(),
        },
    )


def open_with_passphrase(sealed: bytes, passphrase: str, kind: Label, max_bytes: int) -> bytes:
    """What ``seal_with_passphrase`` was given.

    Altered parameters derive another key, so they fail like a wrong passphrase.

    Raises:
        FormatError: the bytes are no document of ``kind``, or over ``max_bytes``, or ask for too much work.
        PassphraseError: the passphrase is wrong, or the bytes were altered.
    """
    fields = canonical.decode(sealed, kind, max_bytes + _ENVELOPE_BYTES)
    kdf = fields.text("kdf", 16)
    if kdf != "argon2id":
        raise FormatError(f"{kind.value}: expected the key derivation argon2id; came {kdf}")
    cost = PassphraseCost(
        fields.uint("memoryKib", 32), fields.uint("iterations", 32), fields.uint("lanes", 32)
    )
    salt = fields.octets("salt", SALT_BYTES)
    ciphertext = fields.octets_up_to("ciphertext", max_bytes + _ENVELOPE_BYTES)
    fields.done()
    key = _derive(passphrase, salt, cost.memory_kib, cost.iterations, cost.lanes)
    decryptor = Cobblestone256Decryptor(key, kind.prefix)
    try:
        return decryptor.update(ciphertext) + decryptor.finalize()
    except (InvalidTag, ValueError):
        raise PassphraseError(
            "the passphrase does not open this: it is another one, or the file was altered"
        ) from None


def _derive(passphrase: str, salt: bytes, memory_kib: int, iterations: int, lanes: int) -> bytes:
    return Argon2id(
        salt=salt, length=_KEY_BYTES, iterations=iterations, lanes=lanes, memory_cost=memory_kib
    ).derive(passphrase_bytes(passphrase))
