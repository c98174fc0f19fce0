"""Which patient a member's staff mean, among those who granted the member something."""

from typing import TYPE_CHECKING

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.options import parse_hex, pick_by_id
from cli.texts import _
from cli.words import fold, match_name, short_hex

if TYPE_CHECKING:
    from cli.staff_client import StaffClient
    from wire.staff import ConsentedPatient


def member_names(client: "StaffClient") -> dict[bytes, str]:
    """The members' names by address, as the own node has them from the ledger."""
    from wire.ledger import MembersView

    return {member.address: member.name for member in client.get("/members", MembersView).members}


def consented_patients(client: "StaffClient") -> "list[ConsentedPatient]":
    from wire.staff import ConsentedPatient

    return client.get("/staff/consents", list[ConsentedPatient])


def find_patient(
    client: "StaffClient", typed: str, at: str | None
) -> "tuple[bytes, ConsentedPatient | None]":
    """Who was meant: somebody who granted this member something, else any pseudonym by its full number."""
    text = typed.strip().casefold()
    consented = consented_patients(client)
    if text.startswith("0x") and len(text) == 42:
        address = parse_hex(text, 20, _("pseudonym"))
        return address, next((patient for patient in consented if patient.patient == address), None)
    if text.startswith("0x"):
        found = pick_by_id(typed, consented, lambda patient: patient.patient, _("patient"))
        return found.patient, found
    if not consented:
        raise CommandError(
            _(
                "no consent for this member stands: no patient gave one, or each was revoked; "
                "asked by the whole pseudonym, 0x and 40 digits, the ledger says which"
            ),
            ExitCode.NOT_FOUND,
        )
    found = _by_introduction(client, typed, at, consented)
    return found.patient, found


def _by_introduction(
    client: "StaffClient", typed: str, at: str | None, consented: "list[ConsentedPatient]"
) -> "ConsentedPatient":
    """The one patient who introduced themselves so. Two of one name are never taken for one person."""
    wanted = fold(typed)
    exact = [patient for patient in consented if fold(patient.introduction) == wanted]
    found = exact or [patient for patient in consented if wanted and wanted in fold(patient.introduction)]
    if len(found) == 1 and at is None:
        return found[0]
    if not found:
        match_name(
            typed, list(dict.fromkeys(p.introduction for p in consented if p.introduction)), _("patient")
        )
    names = member_names(client)
    providers = [names.get(patient.provider, short_hex(patient.provider)) for patient in found]
    if at is not None:
        provider = providers[match_name(at, list(dict.fromkeys(providers)), _("provider of this patient"))]
        found = [patient for patient, name in zip(found, providers, strict=True) if name == provider]
        providers = [provider] * len(found)
        if len(found) == 1:
            return found[0]
    known = "; ".join(
        f"{patient.introduction}, {name}: {short_hex(patient.patient)}"
        for patient, name in zip(found, providers, strict=True)
    )
    raise CommandError(
        _(
            '"{typed}" may be more than one person: {known}. Name the provider with --at, or the number'
        ).format(typed=typed, known=known),
        ExitCode.NOT_FOUND,
    )
