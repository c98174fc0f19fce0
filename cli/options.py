"""Options that several kinds of users share, and how a record or a patient is picked by what people type."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.places import MemberPlace, find_network
from cli.texts import _

if TYPE_CHECKING:
    from cli.staff_client import StaffClient

Item = TypeVar("Item")

AS_OPTION = typer.Option(
    ..., "--as", "-m", envvar="PHR_MEMBER", help=_("The member for whom you act, by name or part of it.")
)
PATIENT_TOKEN_OPTION = typer.Option(
    ...,
    "--patient",
    "-p",
    help=_("The patient's identifier as in Patient.identifier: 'system|value' (FHIR token)."),
)


def staff_of(network: Path | None, member: str) -> "tuple[MemberPlace, StaffClient]":
    """The member named on this machine, and a client of its node with its staff token."""
    # Imported here, as everything that takes long to load: help must come at once.
    from cli.staff_client import StaffClient

    place = find_network(network).member(member)
    return place, StaffClient.of_member(place.endpoint, place.directory)


def parse_identifier(token: str) -> dict[str, str]:
    """A FHIR token ``system|value`` as its two parts."""
    system, separator, value = token.partition("|")
    if not separator or not value.strip():
        raise CommandError(
            _("expected an identifier such as 'http://hospital.example|12345'; came: {token}").format(
                token=token
            ),
            ExitCode.USAGE,
        )
    return {"system": system.strip(), "value": value.strip()}


def pick_by_id(typed: str, items: Sequence[Item], id_of: Callable[[Item], bytes], kind: str) -> Item:
    """The one item whose identifier begins with the digits that were typed (six at least), as tables show them."""
    digits = typed.casefold().removeprefix("0x").split("…")[0]
    found = [item for item in items if id_of(item).hex().startswith(digits)]
    if len(digits) < 6 or any(c not in "0123456789abcdef" for c in digits):
        raise CommandError(
            _("expected at least six digits of the {kind}'s number, such as 0x1a2b3c; came: {typed}").format(
                kind=kind, typed=typed
            ),
            ExitCode.USAGE,
        )
    if len(found) != 1:
        text = (
            _("no {kind} has a number that begins so: {typed}")
            if not found
            else _("several {kind}s begin so: {typed}")
        )
        raise CommandError(text.format(kind=kind, typed=typed), ExitCode.NOT_FOUND)
    return found[0]


def read_input(path: Path, limit_bytes: int) -> bytes:
    """A file's bytes, or standard input's for ``-``; refused beyond the limit before it is read whole."""
    import sys

    stream = sys.stdin.buffer if str(path) == "-" else path.open("rb")
    with stream:
        content = stream.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise CommandError(
            _("{path} is larger than {limit} MiB; split it").format(path=path, limit=limit_bytes // 2**20),
            ExitCode.BAD_INPUT,
        )
    return content
