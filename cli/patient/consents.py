"""`phr patient grant | consents`: who may read what."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.output import JSON_OPTION, YES_OPTION, confirm, emit_json, say, table, working
from cli.patient.opening import PASSPHRASE_OPTION, RESUME, WALLET_OPTION, member_name, opened, relationship
from cli.places import NETWORK_OPTION
from cli.texts import _, plural
from cli.words import (
    day_of_moment_text,
    parse_categories,
    parse_data_period,
    parse_duration_days,
    parse_purposes,
    period_text,
    short_hex,
)

if TYPE_CHECKING:
    from wallet import ConsentSummary, GrantPreview

app = typer.Typer()

_ALL = typer.Option(False, "--all", help=_("Also those that are revoked, expired or used up."))


@app.command(
    epilog='phr patient grant Clinic --category laboratory,medication --for "90 days" --purpose treatment'
)
def grant(
    grantee: str = typer.Argument(help=_("Who may read: a member's name, or part of it.")),
    category: list[str] = typer.Option(
        [],
        "--category",
        "-c",
        help=_("What: laboratory, medication, imaging …, or all. Several are allowed."),
    ),
    record: str | None = typer.Option(
        None, "--record", "-r", help=_("One single record instead of categories.")
    ),
    duration: str = typer.Option(..., "--for", help=_('How long: "90 days", "6 months", "1 year".')),
    purpose: list[str] = typer.Option(
        ["treatment"], "--purpose", help=_("Why: treatment, research, payment …")
    ),
    since: str | None = typer.Option(None, "--since", help=_("Only records from this day on (2024-01-31).")),
    until: str | None = typer.Option(None, "--until", help=_("Only records up to this day.")),
    uses: int = typer.Option(
        0, "--uses", min=0, max=2**24 - 1, help=_("How many records may be read; 0 = any number.")
    ),
    at: list[str] = typer.Option(
        [], "--at", help=_("Only records of these providers. Default: all of yours.")
    ),
    introduction: str = typer.Option(
        "",
        "--introduce",
        help=_("How you are known to them, such as your name: told to them alone, never on the ledger."),
    ),
    wallet: str | None = WALLET_OPTION,
    passphrase_file: Path | None = PASSPHRASE_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Let a member read records of some categories, for a purpose, for a time. Later records are covered too."""
    from wallet import GrantWish

    if bool(category) == bool(record):
        raise CommandError(_("expected either --category or --record"), ExitCode.USAGE)
    with opened(network, wallet, passphrase_file) as open_wallet:
        chosen = tuple(relationship(open_wallet, name).patient for name in at) or None
        wish = GrantWish(
            grantees=(member_name(open_wallet, grantee),),
            purposes=parse_purposes(purpose),
            valid_days=parse_duration_days(duration),
            categories=parse_categories(category),
            record_id=open_wallet.find_record(record).record_id if record else None,
            data_period=parse_data_period(since, until),
            max_uses=uses,
            introduction=introduction,
            patients=chosen,
        )
        preview = open_wallet.preview_grant(wish)
        if not as_json:
            _show_grant(preview)
        confirm(_("Sign?"), yes, as_json)
        with working(_("signing, sealing, writing to the ledger"), RESUME):
            outcome = open_wallet.grant(preview)
    if as_json:
        return emit_json(
            {
                "consents": [
                    {
                        "consent_id": consent.consent_id,
                        "pseudonym": consent.patient,
                        "provider": consent.provider_name,
                        "grantee": consent.grantee_name,
                        "final": consent.final,
                        "delivered": consent.delivered,
                        "detail": consent.detail,
                    }
                    for consent in outcome.consents
                ],
                "last_day": preview.last_day.isoformat(),
            }
        )
    for consent in outcome.consents:
        say(
            _("{grantee} may read your records of {provider} until {day}. Consent {number}.").format(
                grantee=consent.grantee_name,
                provider=consent.provider_name,
                day=preview.last_day,
                number=short_hex(consent.consent_id),
            )
        )
        if not (consent.final and consent.delivered):
            say(_("  Not complete yet: {detail}").format(detail=consent.detail))


def _show_grant(preview: "GrantPreview") -> None:
    for planned in preview.grants:
        kinds = ", ".join(f"{category.label} ({count})" for category, count in planned.records_by_category)
        say(
            plural(
                "{grantee} will be able to read {count} record of {provider}: {kinds}",
                "{grantee} will be able to read {count} records of {provider}: {kinds}",
                planned.records,
            ).format(
                grantee=planned.grantee_name,
                count=planned.records,
                provider=planned.provider_name,
                kinds=kinds or _("none yet"),
            )
        )
    say(_("until {day}, and later records of these categories too.").format(day=preview.last_day))
    if preview.sensitive:
        say(
            _("Sensitive: {kinds}.").format(kinds=", ".join(category.label for category in preview.sensitive))
        )
    for warning in preview.warnings:
        say(warning)
    for linked in preview.linked:
        say(
            _("{grantee} will learn that your records at {names} are of one person.").format(
                grantee=linked.grantee_name, names=_(" and ").join(linked.provider_names)
            )
        )


@app.command(epilog="phr patient consents")
def consents(
    everything: bool = _ALL,
    wallet: str | None = WALLET_OPTION,
    passphrase_file: Path | None = PASSPHRASE_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """List what you granted, to whom, and how often it was used."""
    with opened(network, wallet, passphrase_file) as open_wallet:
        found = open_wallet.consents()
    shown = [
        consent
        for consent in found
        if everything or state_of(consent) in ("active", "not-yet-valid", "unconfirmed")
    ]
    if as_json:
        return emit_json([consent_document(consent) for consent in shown])
    table(
        [_("consent"), _("who"), _("records of"), _("what"), _("why"), _("until"), _("read"), _("state")],
        [
            (
                short_hex(consent.consent_id),
                consent.grantee_name,
                consent.provider_name,
                what_of(consent),
                ", ".join(purpose.label for purpose in consent.purposes),
                day_of_moment_text(consent.valid_until - 1),
                f"{consent.uses}/{consent.max_uses}" if consent.max_uses else "",
                state_of(consent),
            )
            for consent in shown
        ],
        empty=_("Nobody may read your records but the providers that wrote them."),
    )


def state_of(consent: "ConsentSummary") -> str:
    """The consent's state as a word."""
    return consent.state.value


def what_of(consent: "ConsentSummary") -> str:
    """What a consent covers, in a few words."""
    kinds = ", ".join(category.label for category in consent.categories)
    one = _("one record of {kinds}").format(kinds=kinds) if consent.record_id else kinds
    period = period_text(consent.data_period.start_day, consent.data_period.end_day)
    return one if period == _("any time") else f"{one}, {period}"


def consent_document(consent: "ConsentSummary") -> dict[str, Any]:
    """A consent with stable keys."""
    return {
        "consent_id": consent.consent_id,
        "pseudonym": consent.patient,
        "provider": consent.provider_name,
        "grantee": consent.grantee_name,
        "record_id": consent.record_id,
        "categories": [category.label for category in consent.categories],
        "purposes": [purpose.name for purpose in consent.purposes],
        "valid_from": consent.valid_from,
        "valid_until": consent.valid_until,
        "data_from_day": consent.data_period.start_day,
        "data_until_day": consent.data_period.end_day,
        "max_uses": consent.max_uses,
        "uses": consent.uses,
        "state": state_of(consent),
    }
