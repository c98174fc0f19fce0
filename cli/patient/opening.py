"""How a patient's command finds and opens the wallet."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.options import pick_by_id
from cli.output import note
from cli.places import NetworkPlace, find_network
from cli.texts import _
from cli.words import match_name

if TYPE_CHECKING:
    from wallet import RecoveryPhrase, Relationship, Wallet

WALLET_OPTION = typer.Option(
    None, "--wallet", "-w", envvar="PHR_WALLET", help=_("The wallet's name, or the path of its vault file.")
)
PASSPHRASE_OPTION = typer.Option(
    None,
    "--passphrase-file",
    envvar="PHR_PASSPHRASE_FILE",
    help=_("A private file (0600) with the wallet's passphrase; asked for when absent."),
)

_PHRASE_ATTEMPTS = 3
RESUME = _("`phr patient resume` finishes what was begun")


def wallet_path(network: Path | None, name: str | None) -> Path:
    """The vault file that is meant: the one named, or the only one there is.

    Raises:
        CommandError: there is none, or more than one and none was named.
    """
    if name is not None and ("/" in name or name.endswith(".vault")):
        return Path(name)
    place = find_network(network)
    if name is not None:
        return place.wallet_path(name)
    found = sorted(place.wallets_directory.glob("*/wallet.vault"))
    if len(found) == 1:
        return found[0]
    if not found:
        raise CommandError(
            _("no wallet here yet; make one with `phr patient create NAME`"), ExitCode.NOT_FOUND
        )
    names = ", ".join(path.parent.name for path in found)
    raise CommandError(_("which wallet? Name one with --wallet: {names}").format(names=names), ExitCode.USAGE)


@contextmanager
def opened(network: Path | None, name: str | None, passphrase_file: Path | None) -> "Iterator[Wallet]":
    """The open wallet, closed at the end; what it was interrupted in is said on standard error."""
    from cli.administrator import read_passphrase
    from wallet import Wallet

    path = wallet_path(network, name)
    if path.is_dir():
        raise CommandError(
            _("{path} is a directory; name the vault file in it").format(path=path), ExitCode.USAGE
        )
    if not path.exists():
        raise CommandError(_("no wallet at {path}").format(path=path), ExitCode.NOT_FOUND)
    with Wallet.open(path, read_passphrase(passphrase_file), progress=progress) as wallet:
        _take_confirmations(wallet)
        for sentence in wallet.unfinished:
            note(_("unfinished: {what} (phr patient resume)").format(what=sentence))
        yield wallet


def _take_confirmations(wallet: "Wallet") -> None:
    """Look whether a desk has confirmed what is still open, so that every command sees the same relationships."""
    from wallet import NodeError, RelationshipStatus

    if any(entry.status is RelationshipStatus.REQUESTED for entry in wallet.relationships):
        try:
            wallet.complete_registrations()
        except NodeError as error:
            note(_("whether a registration was confirmed is not known: {error}").format(error=error))


def member_name(wallet: "Wallet", typed: str) -> str:
    """The whole name of the member that was typed, whole or in part; an account's number passes as it is."""
    members = wallet.directory().members
    if typed.casefold().startswith("0x"):
        return pick_by_id(typed, members, lambda member: member.address, _("member")).name
    names = [member.name for member in members]
    return names[match_name(typed, names, _("member"))]


def relationship(wallet: "Wallet", typed: str) -> "Relationship":
    """The relationship with the provider that was typed, by name or part of it."""
    if typed.casefold().startswith("0x"):
        return pick_by_id(typed, wallet.relationships, lambda entry: entry.patient, _("pseudonym of yours"))
    names = list(dict.fromkeys(entry.provider_name for entry in wallet.relationships))
    return wallet.find_relationship(names[match_name(typed, names, _("provider of yours"))])


def progress(sentence: str) -> None:
    """Show a wallet's step on a terminal; a script's output stays as it was."""
    import sys

    if sys.stderr.isatty():
        note(f"· {sentence}")


def node_urls(network: Path | None, given: list[str]) -> list[str]:
    """The nodes named, or those of the network at hand."""
    if given:
        return given
    place: NetworkPlace = find_network(network)
    return [member.endpoint for member in place.members if member.endpoint]


@contextmanager
def wallet_directory(path: Path) -> Iterator[None]:
    """The directory of a wallet to be made; taken away again when nothing was made in it."""
    new = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        yield
    except BaseException:
        if new and not path.exists():
            for leftover in path.parent.iterdir():
                leftover.unlink()
            path.parent.rmdir()
        raise


def read_phrase(path: Path | None) -> "RecoveryPhrase":
    """The recovery phrase from a private file, or typed; a mistyped one can be typed again.

    Raises:
        CommandError: there is neither a file nor a terminal.
        crypto.RecoveryPhraseError: the words are no phrase.
    """
    import sys

    from cli.administrator import read_text_secret
    from wallet import RecoveryPhrase

    if path is not None:
        return RecoveryPhrase.parse(read_text_secret(path))
    if not sys.stdin.isatty():
        raise CommandError(
            _("expected the recovery phrase: name a private file with --phrase-file, or use a terminal"),
            ExitCode.LOCKED,
        )
    from crypto.errors import RecoveryPhraseError

    for _attempt in range(_PHRASE_ATTEMPTS - 1):
        try:
            return RecoveryPhrase.parse(_ask_phrase())
        except RecoveryPhraseError as error:
            note(f"{error}.")
    return RecoveryPhrase.parse(_ask_phrase())


def _ask_phrase() -> str:
    import getpass

    return getpass.getpass(_("Recovery phrase (24 words, not shown while you type): "))
