"""Keys, the two-lock envelope, shares, signatures and vaults: bytes in, bytes out.

No input or output but the files of ``crypto.keystore`` and ``crypto.vault``. Byte layouts: docs/envelope.md.
Import from the modules; the errors, which callers of every module catch, are here.
"""

from crypto.errors import (
    CryptoError,
    DigestMismatchError,
    EpochError,
    FormatError,
    HeaderError,
    KeyfileError,
    OpenError,
    PassphraseError,
    RecoveryPhraseError,
    SignatureError,
    WrongShareError,
)

__all__ = [
    "CryptoError",
    "DigestMismatchError",
    "EpochError",
    "FormatError",
    "HeaderError",
    "KeyfileError",
    "OpenError",
    "PassphraseError",
    "RecoveryPhraseError",
    "SignatureError",
    "WrongShareError",
]
