"""`phr patient create | register | recover | resume | backup | status`: the wallet itself."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.output import JSON_OPTION, emit_json, note, say, table, working
from cli.patient.opening import (
    PASSPHRASE_OPTION,
    RESUME,
    WALLET_OPTION,
    member_name,
    node_urls,
    opened,
    progress,
    read_phrase,
    wallet_directory,
    wallet_path,
)
from cli.places import NETWORK_OPTION
from cli.saving import check_new_file
from cli.texts import _
from cli.words import moment_text, short_hex

if TYPE_CHECKING:
    from wallet import Wallet

app = typer.Typer()

_NAME = typer.Argument(help=_("A name for the wallet on this device; it is told to nobody."))
_NODES = typer.Option(
    [], "--node", help=_("URL of a member's node; two at least. Default: the network's members.")
)


@app.command(epilog="phr patient create minji")
def create(
    name: str = _NAME,
    node: list[str] = _NODES,
    phrase_file: Path | None = typer.Option(
        None,
        "--phrase-file",
        help=_("Write the recovery phrase into this new private file instead of showing it."),
    ),
    passphrase_file: Path | None = PASSPHRASE_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Create a wallet, with an encrypted backup at two members' nodes, and a recovery phrase to keep on paper."""
    from cli.administrator import read_passphrase
    from crypto.private_file import atomic_write_private
    from wallet import Wallet

    path = wallet_path(network, name)
    if path.exists():
        raise CommandError(_("there is a wallet at {path} already").format(path=path), ExitCode.BAD_INPUT)
    if phrase_file is not None:
        check_new_file(phrase_file)
    elif not as_json and not sys.stdout.isatty():
        raise CommandError(
            _("the recovery phrase would go into a pipe or file that anyone may read; use --phrase-file"),
            ExitCode.USAGE,
        )
    passphrase = read_passphrase(passphrase_file, confirm=True)
    with wallet_directory(path), working(_("making keys and storing the backup")):
        wallet, phrase = Wallet.create(path, passphrase, node_urls(network, node), progress=progress)
    wallet.close()
    if phrase_file is not None:
        try:
            atomic_write_private(phrase_file, (" ".join(phrase.words) + "\n").encode())
        except BaseException:
            # Nobody has the phrase: this wallet could never be recovered. It holds nothing yet.
            path.unlink()
            raise
    if as_json:
        shown = None if phrase_file else " ".join(phrase.words)
        return emit_json(
            {"wallet": str(path), "recovery_phrase": shown, "phrase_file": phrase_file and str(phrase_file)}
        )
    say(_("The wallet is at {path}.").format(path=path))
    if phrase_file is not None:
        say(
            _("Its recovery phrase is in {path}: move it to paper, and delete the file.").format(
                path=phrase_file
            )
        )
        return
    say("")
    say(_("Write these 24 words on paper, in this order, and keep them where only you can find them:"))
    say("")
    words = phrase.words
    for row in range(0, len(words), 6):
        say("  " + "  ".join(f"{row + i + 1:2}. {word:<10}" for i, word in enumerate(words[row : row + 6])))
    say("")
    say(_("With them the wallet can be recovered on another device. They are not shown again."))


@app.command(epilog='phr patient register "Seoul Hospital"')
def register(
    provider: str = typer.Argument(help=_("The hospital or clinic, by name or part of it.")),
    wait: int = typer.Option(0, "--wait", help=_("Wait up to so many seconds for the desk to confirm.")),
    wallet: str | None = WALLET_OPTION,
    passphrase_file: Path | None = PASSPHRASE_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Ask a provider to register you; show the code at its desk with an identity document."""
    with opened(network, wallet, passphrase_file) as open_wallet:
        ticket = open_wallet.request_registration(member_name(open_wallet, provider))
        show = _("At {name}, show the code {code} (good until {when}).").format(
            name=ticket.provider_name, code=ticket.code, when=moment_text(ticket.expires_at)
        )
        if not as_json:
            say(show)
        elif wait:
            note(show)
        confirmed = _wait_for_desk(open_wallet, ticket.patient, wait)
    if as_json:
        return emit_json(
            {
                "provider": ticket.provider_name,
                "pseudonym": ticket.patient,
                "code": ticket.code,
                "expires_at": ticket.expires_at,
                "registered": confirmed,
            }
        )
    if confirmed:
        say(_("{name} has registered you.").format(name=ticket.provider_name))
    else:
        say(_("Once the desk has confirmed, `phr patient status` shows it."))


def _wait_for_desk(open_wallet: "Wallet", patient: bytes, seconds: int) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        if any(done.patient == patient for done in open_wallet.complete_registrations()):
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.5)


@app.command(epilog="phr patient recover minji-new-phone --phrase-file phrase")
def recover(
    name: str = _NAME,
    node: list[str] = _NODES,
    phrase_file: Path | None = typer.Option(
        None, "--phrase-file", help=_("A private file (0600) with the 24 words; asked for when absent.")
    ),
    passphrase_file: Path | None = PASSPHRASE_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Recover the wallet on a new device from its backup, with the recovery phrase."""
    from cli.administrator import read_passphrase
    from wallet import Wallet

    path = wallet_path(network, name)
    if path.exists():
        raise CommandError(_("there is a wallet at {path} already").format(path=path), ExitCode.BAD_INPUT)
    phrase = read_phrase(phrase_file)
    passphrase = read_passphrase(passphrase_file, confirm=True)
    with wallet_directory(path), working(_("fetching backups and comparing them with the ledger")):
        wallet, recovery = Wallet.recover(
            path, passphrase, phrase, node_urls(network, node), progress=progress
        )
    with wallet:
        # What the old device was in the middle of is finished here, where it can be.
        left = wallet.resume().left
        relationships = wallet.relationships
    if as_json:
        return emit_json(
            {
                "wallet": str(path),
                "backup_version": recovery.backup_version,
                "relationships": len(relationships),
                "consents_rebuilt": recovery.consents_rebuilt,
                "missing": list(recovery.missing),
                "pseudonyms_needing_new_keys": list(recovery.needs_new_keys),
                "unfinished": list(left),
            }
        )
    say(
        _("Recovered from backup {version}: {relationships} relationships, {consents} consents.").format(
            version=recovery.backup_version,
            relationships=len(relationships),
            consents=recovery.consents_rebuilt,
        )
    )
    for sentence in left:
        say(_("Unfinished: {what}").format(what=sentence))
    for sentence in recovery.missing:
        say(_("Missing: {what}").format(what=sentence))
    if recovery.needs_new_keys:
        say(_("Run `phr patient renew-keys` so that providers can publish for you again."))


@app.command("renew-keys", epilog="phr patient renew-keys")
def renew_keys(
    wallet: str | None = WALLET_OPTION,
    passphrase_file: Path | None = PASSPHRASE_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Make fresh keys for every active relationship, after a recovery that misses some."""
    with opened(network, wallet, passphrase_file) as open_wallet:
        active = [r for r in open_wallet.relationships if r.status.value == "active"]
        with working(_("making keys, storing the backup, writing to the ledger"), RESUME):
            renewed = [open_wallet.renew_keys(relationship.patient) for relationship in active]
    if as_json:
        return emit_json({"renewed": [relationship.patient for relationship in renewed]})
    for relationship in renewed:
        say(_("{name}: new keys are in force.").format(name=relationship.provider_name))


@app.command(epilog="phr patient resume")
def resume(
    wallet: str | None = WALLET_OPTION,
    passphrase_file: Path | None = PASSPHRASE_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Finish what was interrupted: a revocation, a grant, a registration."""
    with opened(network, wallet, passphrase_file) as open_wallet:
        report = open_wallet.resume()
    if as_json:
        emit_json({"done": list(report.done), "left": list(report.left)})
    else:
        for sentence in report.done:
            say(_("done: {what}").format(what=sentence))
        if not report.done and not report.left:
            say(_("Nothing was left unfinished."))
    if report.left:
        raise CommandError(
            _("still unfinished: {what}").format(what="; ".join(report.left)), ExitCode.UNREACHABLE
        )


@app.command(epilog="phr patient backup")
def backup(
    wallet: str | None = WALLET_OPTION,
    passphrase_file: Path | None = PASSPHRASE_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Store the newest backup at two nodes again."""
    with opened(network, wallet, passphrase_file) as open_wallet:
        names = open_wallet.backup()
    if as_json:
        return emit_json({"nodes": list(names)})
    say(_("The newest backup lies at {names}.").format(names=", ".join(names)))


@app.command(epilog="phr patient status")
def status(
    wallet: str | None = WALLET_OPTION,
    passphrase_file: Path | None = PASSPHRASE_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show where you are registered, and which nodes the wallet uses."""
    with opened(network, wallet, passphrase_file) as open_wallet:
        relationships, nodes = open_wallet.relationships, open_wallet.nodes
        unfinished = open_wallet.unfinished
    if as_json:
        return emit_json(
            {
                "relationships": [
                    {
                        "provider": r.provider_name,
                        "pseudonym": r.patient,
                        "status": r.status.value,
                    }
                    for r in relationships
                ],
                "nodes": [{"name": node.name, "url": node.url} for node in nodes],
                "unfinished": list(unfinished),
            }
        )
    table(
        [_("provider"), _("you are known there as"), _("status")],
        [(r.provider_name, short_hex(r.patient), r.status.value) for r in relationships],
        empty=_("You are not registered anywhere yet: phr patient register"),
    )
    say("")
    table(
        [_("node"), _("at")], [(node.name, node.url) for node in nodes], empty=_("The wallet knows no node.")
    )
