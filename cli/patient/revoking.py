"""`phr patient revoke`: taking a consent back, with a receipt of what had been read under it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.options import pick_by_id
from cli.output import JSON_OPTION, YES_OPTION, confirm, emit_json, say, table, working
from cli.patient.consents import consent_document, state_of
from cli.patient.opening import PASSPHRASE_OPTION, RESUME, WALLET_OPTION, opened
from cli.places import NETWORK_OPTION
from cli.texts import _, plural
from cli.words import fold, moment_text, short_hex

if TYPE_CHECKING:
    from wallet import ConsentSummary, RevocationPreview, RevocationReceipt, Wallet

app = typer.Typer()


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
