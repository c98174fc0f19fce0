"""`phr patient deny | allow | restrict | unrestrict | freeze | end`: what nobody may, whatever was granted."""

from pathlib import Path
from typing import Any

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.output import JSON_OPTION, YES_OPTION, confirm, emit_json, say, table, working
from cli.patient.consents import consent_document
from cli.patient.opening import PASSPHRASE_OPTION, RESUME, WALLET_OPTION, opened, relationship
from cli.places import NETWORK_OPTION
from cli.texts import _, plural
from cli.words import parse_categories, parse_purposes, period_text, short_hex

app = typer.Typer()

_CATEGORIES = typer.Option([], "--category", "-c", help=_("Categories, such as mental-health."))
_PURPOSES = typer.Option([], "--purpose", help=_("Purposes, such as research."))
_AT = typer.Option([], "--at", help=_("Only at these providers. Default: at all of yours."))


@app.command(epilog="phr patient deny --category mental-health --purpose research")
def deny(
    category: list[str] = _CATEGORIES,
    purpose: list[str] = _PURPOSES,
    at: list[str] = _AT,
    wallet: str | None = WALLET_OPTION,
    passphrase_file: Path | None = PASSPHRASE_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Deny categories or purposes to everybody, whatever was granted, until you allow them again."""
    _change_policy("deny", category, purpose, at, wallet, passphrase_file, network, as_json, yes)


@app.command(epilog="phr patient allow --category mental-health")
def allow(
    category: list[str] = _CATEGORIES,
    purpose: list[str] = _PURPOSES,
    at: list[str] = _AT,
    wallet: str | None = WALLET_OPTION,
    passphrase_file: Path | None = PASSPHRASE_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Take a denial back; consents that were granted count again."""
    _change_policy("allow", category, purpose, at, wallet, passphrase_file, network, as_json, yes)


def _change_policy(
    verb: str,
    category: list[str],
    purpose: list[str],
    at: list[str],
    wallet: str | None,
    passphrase_file: Path | None,
    network: Path | None,
    as_json: bool,
    yes: bool,
) -> None:
    categories, purposes = parse_categories(category), parse_purposes(purpose)
    if not categories and not purposes:
        raise CommandError(_("expected --category or --purpose"), ExitCode.USAGE)
    with opened(network, wallet, passphrase_file) as open_wallet:
        patients = tuple(relationship(open_wallet, name).patient for name in at) or None
        look, act = (
            (open_wallet.preview_deny, open_wallet.deny)
            if verb == "deny"
            else (open_wallet.preview_allow, open_wallet.allow)
        )
        preview = look(categories, purposes, patients)
        if not as_json:
            _show_changes(preview.changes)
            if verb == "deny":
                say(
                    plural(
                        "{count} record is closed to all.",
                        "{count} records are closed to all.",
                        preview.records_closed,
                    ).format(count=preview.records_closed)
                )
        confirm(_("Sign?"), yes, as_json)
        with working(_("signing, writing to the ledger"), RESUME):
            changes = act(categories, purposes, patients)
    if as_json:
        return emit_json(
            {
                "changes": [
                    {
                        "provider": change.provider_name,
                        "pseudonym": change.patient,
                        "denied_categories": [one.label for one in change.categories_after],
                        "denied_purposes": [one.name for one in change.purposes_after],
                    }
                    for change in changes
                ],
                "consents_affected": [consent_document(consent) for consent in preview.consents_affected],
            }
        )
    say(_("Done: it is on the ledger."))


def _show_changes(changes: Any) -> None:
    table(
        [_("records of"), _("denied before"), _("denied from now on")],
        [
            (
                change.provider_name,
                _labels(change.categories_before, change.purposes_before),
                _labels(change.categories_after, change.purposes_after),
            )
            for change in changes
        ],
        empty=_("Nothing changes."),
    )


def _labels(categories: Any, purposes: Any) -> str:
    return ", ".join(one.label for one in (*categories, *purposes)) or _("nothing")


_RECORD = typer.Argument(help=_("The record's number, or its first six digits."))


@app.command(epilog="phr patient restrict 0x1a2b3c")
def restrict(
    record: str = _RECORD,
    wallet: str | None = WALLET_OPTION,
    passphrase_file: Path | None = PASSPHRASE_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Close one record to all whose consent does not name it."""
    with opened(network, wallet, passphrase_file) as open_wallet:
        found = open_wallet.find_record(record)
        preview = open_wallet.preview_restrict(found.record_id)
        confirm(
            _("Close {category} of {period} ({provider})? It is closed to: {names}.").format(
                category=found.category.label,
                period=period_text(found.period.start_day, found.period.end_day),
                provider=found.provider_name,
                names=", ".join(preview.losing) or _("nobody who could read it now"),
            ),
            yes,
            as_json,
        )
        with working(_("signing, writing to the ledger"), RESUME):
            open_wallet.restrict(found.record_id)
    if as_json:
        return emit_json(
            {"record_id": found.record_id, "restricted": True, "closed_to": list(preview.losing)}
        )
    say(_("{record} is restricted.").format(record=short_hex(found.record_id)))


@app.command(epilog="phr patient unrestrict 0x1a2b3c")
def unrestrict(
    record: str = _RECORD,
    wallet: str | None = WALLET_OPTION,
    passphrase_file: Path | None = PASSPHRASE_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Open a restricted record again to those whose consent covers it."""
    with opened(network, wallet, passphrase_file) as open_wallet:
        found = open_wallet.find_record(record)
        with working(_("signing, writing to the ledger"), RESUME):
            open_wallet.unrestrict(found.record_id)
    if as_json:
        return emit_json({"record_id": found.record_id, "restricted": False})
    say(_("{record} is no longer restricted.").format(record=short_hex(found.record_id)))


@app.command(epilog="phr patient freeze")
def freeze(
    at: list[str] = _AT,
    wallet: str | None = WALLET_OPTION,
    passphrase_file: Path | None = PASSPHRASE_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Your keys were stolen: close everything for good. You register anew afterwards."""
    with opened(network, wallet, passphrase_file) as open_wallet:
        patients = tuple(relationship(open_wallet, name).patient for name in at) or None
        preview = open_wallet.preview_freeze(patients)
        if not as_json:
            _show_closing(preview)
        confirm(_("Freeze for good? This cannot be taken back."), yes, as_json)
        with working(_("signing, writing to the ledger"), RESUME):
            frozen = open_wallet.freeze(patients)
    if as_json:
        return emit_json({"frozen": [relationship.patient for relationship in frozen]})
    say(
        _("Frozen: {names}. Register anew with `phr patient register`.").format(
            names=", ".join(r.provider_name for r in frozen)
        )
    )


@app.command(epilog='phr patient end "Busan Hospital"')
def end(
    provider: str = typer.Argument(help=_("The provider, by name or part of it.")),
    wallet: str | None = WALLET_OPTION,
    passphrase_file: Path | None = PASSPHRASE_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """End the relationship with a provider: it can publish nothing more. What is there stays yours to grant."""
    with opened(network, wallet, passphrase_file) as open_wallet:
        patient = relationship(open_wallet, provider).patient
        preview = open_wallet.preview_end(patient)
        if not as_json:
            _show_closing(preview)
        confirm(_("End this relationship?"), yes, as_json)
        with working(_("signing, writing to the ledger"), RESUME):
            ended = open_wallet.end(patient)
    if as_json:
        return emit_json({"ended": ended.patient, "provider": ended.provider_name})
    say(_("{name} can publish nothing more for you.").format(name=ended.provider_name))


def _show_closing(preview: Any) -> None:
    table(
        [_("provider"), _("records"), _("consents in force")],
        [(one.provider_name, one.records, one.live_consents) for one in preview.pseudonyms],
        empty=_("You are not registered anywhere."),
    )
