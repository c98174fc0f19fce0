"""An account key as Web3 secret storage, version 3, by eth-keyfile: what every Ethereum tool reads.

Only scrypt with r = 8, p = 1 and AES-128-CTR is written and read.
"""

import sys
from collections.abc import Callable
from typing import Any

from crypto.errors import FormatError, PassphraseError
from crypto.passphrase import MAX_SCRYPT_N, passphrase_bytes
from crypto.signer import AccountKey


def seal_account(account: AccountKey, passphrase: str, scrypt_n: int) -> dict[str, Any]:
    """The version 3 document, ready for JSON."""
    create, _ = _eth_keyfile()
    document: dict[str, Any] = create(
        account.secret, passphrase_bytes(passphrase), kdf="scrypt", iterations=scrypt_n
    )
    return document


def open_account(document: object, passphrase: str) -> AccountKey:
    """The account in a version 3 document.

    Raises:
        FormatError: it is none, or asks for other parameters than those that this program writes.
        PassphraseError: the passphrase is wrong, or the document was altered.
    """
    _, decode = _eth_keyfile()
    try:
        _check(document)
        secret = decode(document, passphrase_bytes(passphrase))
    except (KeyError, TypeError, AttributeError):
        raise FormatError("account: expected a version 3 key file; came something else") from None
    except ValueError:
        raise PassphraseError(
            "the passphrase does not open the account key, or the file was altered"
        ) from None
    return AccountKey.from_bytes(secret)


def _check(document: Any) -> None:
    # What the library would take on trust: parameters that cost it any time and memory, and a cipher it ignores.
    crypto = document["crypto"]
    parameters = crypto["kdfparams"]
    kind = (document["version"], crypto["cipher"], crypto["kdf"])
    fixed = (parameters["r"], parameters["p"], parameters["dklen"])
    n = parameters["n"]
    if kind != (3, "aes-128-ctr", "scrypt") or fixed != (8, 1, 32):
        raise FormatError(
            "account: expected version 3, aes-128-ctr, scrypt with r 8, p 1, dklen 32; came others"
        )
    if type(n) is not int or not 2 <= n <= MAX_SCRYPT_N or n & (n - 1):
        raise FormatError(
            f"account: expected a power of two up to {MAX_SCRYPT_N} as scrypt's n; came another"
        )


def _eth_keyfile() -> tuple[Callable[..., Any], Callable[..., Any]]:
    # Imported late: it takes most of a second. It also brings py_ecc, which raises the interpreter's recursion
    # limit to 100,000, so that deeply nested JSON would overflow the C stack and kill the process: put it back.
    limit = sys.getrecursionlimit()
    from eth_keyfile.keyfile import create_keyfile_json, decode_keyfile_json

    sys.setrecursionlimit(limit)
    return create_keyfile_json, decode_keyfile_json
