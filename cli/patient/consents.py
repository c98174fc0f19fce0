"""`phr patient grant | revoke | consents`: who may read what."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.options import pick_by_id
from cli.output import JSON_OPTION, YES_OPTION, confirm, emit_json, say, table, working
from cli.patient.opening import PASSPHRASE_OPTION, RESUME, WALLET_OPTION, member_name, opened, relationship
from cli.places import NETWORK_OPTION
from cli.texts import _, plural
from cli.words import (
    day_of_moment_text,
    fold,
    moment_text,
    parse_categories,
    parse_data_period,
    parse_duration_days,
    parse_purposes,
    period_text,
    short_hex,
)

if TYPE_CHECKING:
    from wallet import ConsentSummary, GrantPreview, RevocationPreview, RevocationReceipt, Wallet

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


@app.command(epilog="phr patient revoke Clinic")
def revoke(
    which: str = typer.Argument(help=_("The consent's number, or the name of the member: then all it has.")),
    wallet: str | None = WALLET_OPTION,
    passphrase_file: Path | None = PASSPHRASE_OPTION,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Take a consent back. You get a receipt of what had been read under it, and by whom."""
    with opened(network, wallet, passphrase_file) as open_wallet:
        chosen = _chosen(open_wallet, which)
        previews = [open_wallet.preview_revocation(consent.consent_id) for consent in chosen]
        if not as_json:
            for preview in previews:
                _show_revocation(preview)
        confirm(
            plural("Revoke this consent?", "Revoke these {count} consents?", len(chosen)).format(
                count=len(chosen)
            ),
            yes,
            as_json,
        )
        with working(_("making new keys, storing the backup, writing to the ledger"), RESUME):
            receipts = [open_wallet.revoke(consent.consent_id) for consent in chosen]
    if as_json:
        return emit_json([receipt_document(receipt) for receipt in receipts])
    for receipt in receipts:
        _show_receipt(receipt)


def _chosen(open_wallet: "Wallet", which: str) -> "list[ConsentSummary]":
    if not which.strip():
        raise CommandError(_("expected a consent's number or a member's name; came nothing"), ExitCode.USAGE)
    # An expired consent too: its holder still has the keys, which revoking changes.
    live = [c for c in open_wallet.consents() if state_of(c) != "revoked"]
    if which.casefold().startswith("0x"):
        return [pick_by_id(which, live, lambda consent: consent.consent_id, _("consent"))]
    found = [consent for consent in live if fold(which) in fold(consent.grantee_name)]
    exact = [consent for consent in found if fold(which) == fold(consent.grantee_name)]
    found = exact or found
    if not found:
        raise CommandError(_("no consent in force for {name}").format(name=which), ExitCode.NOT_FOUND)
    if len({consent.grantee for consent in found}) > 1:
        names = ", ".join(sorted({consent.grantee_name for consent in found}))
        raise CommandError(_("more than one member matches: {names}").format(names=names), ExitCode.USAGE)
    return found


def _show_revocation(preview: "RevocationPreview") -> None:
    consent = preview.consent
    say(
        plural(
            "{name} loses access to {count} record of {provider}; {read} of them may have been read.",
            "{name} loses access to {count} records of {provider}; {read} of them may have been read.",
            preview.records_lost,
        ).format(
            name=consent.grantee_name,
            count=preview.records_lost,
            provider=consent.provider_name,
            read=preview.records_read,
        )
    )
    if preview.history_detail:
        say(
            _("What was read under this consent could not be found out: {detail}").format(
                detail=preview.history_detail
            )
        )
    if preview.history_detail:
        say(_("What was read is not known now: {detail}").format(detail=preview.history_detail))
    if preview.staying:
        say(_("New keys go to those who stay: {names}.").format(names=", ".join(preview.staying)))


def receipt_document(receipt: "RevocationReceipt") -> dict[str, Any]:
    """A revocation's receipt with stable keys."""
    return {
        "consent": consent_document(receipt.consent),
        "revoked_at": receipt.as_of.time,
        "block_number": receipt.as_of.number,
        "epoch": receipt.epoch,
        "rotated_categories": [category.label for category in receipt.rotated],
        "may_have_been_read": [
            {
                "record_id": permit.record_id,
                "category": permit.category.label if permit.category is not None else None,
                "sequence": permit.sequence,
                "requester": permit.requester_name,
                "time": permit.time,
                "purpose": permit.purpose.name,
                "releases": [{"custodian": name, "time": moment} for name, moment in permit.releases],
            }
            for permit in receipt.permits
        ],
        "new_keys_sent_to": list(receipt.staying),
        "new_keys_undelivered_to": list(receipt.undelivered),
        "confirmed_by": list(receipt.confirmed_by),
        "reads_unknown_because": receipt.history_detail or None,
        "keys_not_changed_because": receipt.keyring_detail or None,
        "keys_detail": receipt.keyring_detail,
        "history_detail": receipt.history_detail,
    }


def _show_receipt(receipt: "RevocationReceipt") -> None:
    say("")
    say(
        _("Revoked at {when}, block {block}, confirmed by {names}.").format(
            when=moment_text(receipt.as_of.time),
            block=receipt.as_of.number,
            names=", ".join(receipt.confirmed_by),
        )
    )
    if receipt.keyring_detail:
        say(_("About the keys: {detail}").format(detail=receipt.keyring_detail))
    if receipt.history_detail:
        say(
            _("What was read under this consent could not be found out: {detail}").format(
                detail=receipt.history_detail
            )
        )
        return
    say(_("Under this consent the following may have been read; that cannot be undone:"))
    table(
        [_("when"), _("by"), _("what"), _("record"), _("why"), _("shares released by")],
        [
            (
                moment_text(permit.time),
                permit.requester_name,
                permit.category.label if permit.category is not None else "",
                short_hex(permit.record_id),
                permit.purpose.label,
                ", ".join(name for name, _moment in permit.releases),
            )
            for permit in receipt.permits
        ],
        empty=receipt.history_detail or _("Nothing: no access was permitted under it."),
    )
    if receipt.keyring_detail:
        say(receipt.keyring_detail)
    for name in receipt.undelivered:
        say(
            _(
                "{name} could not be reached with its new keys; they are sent at the next `phr patient resume`."
            ).format(name=name)
        )
