"""The administrator's account: a Web3 secret storage file (version 3) and what it may do on the ledger."""

from pathlib import Path
from typing import TYPE_CHECKING

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.json_files import json_bytes
from cli.texts import _

if TYPE_CHECKING:
    from crypto.signer import AccountKey

KEY_FILE = "account.json"
PASSPHRASE_FILE = "passphrase"  # noqa: S105 - the name of a file


def create_account(directory: Path, passphrase: str) -> "AccountKey":
    """Make the administrator's account; an existing one is never overwritten."""
    from eth_keyfile.keyfile import create_keyfile_json

    from crypto.private_file import atomic_write_private
    from crypto.signer import AccountKey

    path = directory / KEY_FILE
    if path.exists():
        raise CommandError(_("{path} is there already").format(path=path), ExitCode.BAD_INPUT)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    account = AccountKey.generate()
    document = create_keyfile_json(account.secret, passphrase.encode(), kdf="scrypt", iterations=2**15)
    atomic_write_private(path, json_bytes(document))
    return account


def compressed_public_key(account: "AccountKey") -> bytes:
    """The account's public key in 33 bytes (SEC 1), as the chain's genesis names several administrators."""
    from coincurve import PublicKey

    return PublicKey(b"\x04" + account.public_key).format(compressed=True)


def open_account(directory: Path, passphrase_file: Path | None) -> "AccountKey":
    """Open the administrator's account with the passphrase in a private file, or asked for on the terminal."""
    import orjson
    from eth_keyfile.keyfile import decode_keyfile_json

    from crypto.private_file import read_private
    from crypto.signer import AccountKey

    try:
        document = orjson.loads(read_private(directory / KEY_FILE, 64 * 1024))
    except ValueError as error:
        raise CommandError(
            _("{path} is no Web3 secret storage file").format(path=directory / KEY_FILE), ExitCode.LOCKED
        ) from error
    beside = directory / PASSPHRASE_FILE
    passphrase = read_passphrase(passphrase_file or (beside if beside.exists() else None))
    try:
        return AccountKey.from_bytes(bytes(decode_keyfile_json(document, passphrase.encode())))
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(
            _("the passphrase does not open {path}").format(path=directory / KEY_FILE), ExitCode.LOCKED
        ) from error


def read_text_secret(path: Path) -> str:
    """The text of a private file, without the line's end.

    Raises:
        CommandError: it is no text, or too long to be a passphrase or a recovery phrase.
        crypto.KeyfileError: it cannot be trusted.
    """
    from crypto.private_file import read_private

    if path.is_dir():
        raise CommandError(_("{path} is a directory; name a private file").format(path=path), ExitCode.LOCKED)
    try:
        return read_private(path, 4096).decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise CommandError(
            _("{path}: expected text in UTF-8; came something else").format(path=path), ExitCode.LOCKED
        ) from error


def read_passphrase(path: Path | None, *, confirm: bool = False) -> str:
    """A passphrase from a private file, or typed on the terminal without being shown.

    Raises:
        CommandError: there is neither a file nor a terminal, or it is empty.
    """
    import getpass
    import sys

    if path is not None:
        passphrase = read_text_secret(path)
    elif not sys.stdin.isatty():
        raise CommandError(
            _("expected a passphrase: name a private file with --passphrase-file, or use a terminal"),
            ExitCode.LOCKED,
        )
    else:
        passphrase = getpass.getpass(_("Passphrase: "))
        if confirm and passphrase != getpass.getpass(_("Once more: ")):
            raise CommandError(_("the two passphrases differ; nothing was made"), ExitCode.LOCKED)
    if not passphrase:
        raise CommandError(_("expected a passphrase that is not empty"), ExitCode.LOCKED)
    return passphrase
