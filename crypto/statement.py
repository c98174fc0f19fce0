"""Statements: bodies signed by an Ethereum account under a label, off the ledger.

The signature is EIP-191 version 0x45 (personal message) over the message label, SHA-256(body): so an ordinary
wallet or hardware signer can make it, and it can be taken for no transaction and for no other statement.
"""

import hashlib
import re
import secrets

from crypto.errors import FormatError, SignatureError
from crypto.fields import ADDRESS_BYTES, require_octets
from crypto.signer import Signer, keccak256, recover_address

_LABEL = re.compile(r"phr/v[0-9]{1,3}/[a-z0-9]+(-[a-z0-9]+)*")
_MAX_LABEL_CHARACTERS = 64


def statement_digest(label: str, body: bytes) -> bytes:
    """What is signed, 32 bytes: Keccak-256 of EIP-191's prefix, the message's length, label, SHA-256(body).

    The digest of the body is the message's last 32 bytes, so label and body cannot run into each other.

    Raises:
        FormatError: ``label`` is not like ``phr/v1/release-receipt``.
    """
    if len(label) > _MAX_LABEL_CHARACTERS or not _LABEL.fullmatch(label):
        raise FormatError(f"label: expected one like phr/v1/release-receipt; came {label[:80]!r}")
    message = label.encode("ascii") + hashlib.sha256(body).digest()
    return keccak256(b"\x19Ethereum Signed Message:\n" + str(len(message)).encode("ascii") + message)


def sign_statement(signer: Signer, label: str, body: bytes) -> bytes:
    """The signer's 65-byte signature of ``body`` as a statement of kind ``label``."""
    return signer.sign_digest(statement_digest(label, body))


def recover_statement(label: str, body: bytes, signature: bytes) -> bytes:
    """The account (20 bytes) that signed; any well-formed signature gives some account, so compare it.

    Raises:
        SignatureError: the signature is malformed or not low-s.
    """
    return recover_address(statement_digest(label, body), signature)


def verify_statement(label: str, body: bytes, signature: bytes, expected: bytes) -> None:
    """Checks that ``expected`` (20 bytes) signed ``body`` as a statement of kind ``label``.

    Raises:
        SignatureError: it did not: another account signed, or another body or label.
    """
    require_octets("expected signer", expected, ADDRESS_BYTES)
    if not secrets.compare_digest(recover_statement(label, body, signature), expected):
        raise SignatureError(
            f"{label}: expected the signature of 0x{expected.hex()}; came another's, or of another body"
        )
