"""Options that several kinds of users share, and how a record or a patient is picked by what people type."""

import os
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
    from wire.staff import PatientIdentifierValue

Item = TypeVar("Item")

AS_OPTION = typer.Option(
    ...,
    "--as",
    "-m",
    envvar="PHR_MEMBER",
    help=_("The member for whom you act, by name or part of it, or its node's directory."),
)
PATIENT_TOKEN_OPTION = typer.Option(
    ...,
    "--patient",
    "-p",
    help=_("The patient's identifier as in Patient.identifier: 'system|value' (FHIR token)."),
)


TOKEN_OPTION = typer.Option(
    None,
    "--token-file",
    envvar="PHR_STAFF_TOKEN_FILE",
    help=_("The private file (0600) with your own staff token; default: the node's administrator's."),
)


def staff_of(network: Path | None, member: str, token_file: Path | None) -> "tuple[MemberPlace, StaffClient]":
    """The member named on this machine, and a client of its node with the staff token of who calls.

    ``member`` is a name in the network, or the directory of a node that belongs to no network of this machine.
    """
    # Imported here, as everything that takes long to load: help must come at once.
    from cli.staff_client import StaffClient

    directory = Path(member)
    if os.sep in member and (directory / "node.toml").is_file():
        from node.config import NodeConfig

        config = NodeConfig.load(directory)
        place = MemberPlace(config.name, config.directory, f"http://{config.host}:{config.port}", True)
    else:
        place = find_network(network).member_with_node(member)
    return place, StaffClient.of_member(place.endpoint, place.directory, token_file)


def parse_identifier(token: str) -> "PatientIdentifierValue":
    """A FHIR token ``system|value`` as an identifier.

    Raises:
        CommandError: it is no such token, or far too long.
    """
    from pydantic import ValidationError

    from wire.staff import PatientIdentifierValue

    system, separator, value = token.partition("|")
    if separator and value.strip():
        try:
            return PatientIdentifierValue(system=system.strip(), value=value.strip())
        except ValidationError:
            token = token[:60] + "…"
    raise CommandError(
        _("expected an identifier such as 'http://hospital.example|12345'; came: {token}").format(
            token=token
        ),
        ExitCode.USAGE,
    )


def parse_hex(text: str, size_bytes: int, kind: str) -> bytes:
    """A whole identifier, ``0x`` and two digits a byte.

    Raises:
        CommandError: it is something else.
    """
    digits = text.strip().casefold().removeprefix("0x")
    if len(digits) != 2 * size_bytes or any(c not in "0123456789abcdef" for c in digits):
        raise CommandError(
            _("expected a {kind}'s whole number, 0x and {count} digits; came: {text}").format(
                kind=kind, count=2 * size_bytes, text=text
            ),
            ExitCode.USAGE,
        )
    return bytes.fromhex(digits)


def pick_by_id(typed: str, items: Sequence[Item], id_of: Callable[[Item], bytes], kind: str) -> Item:
    """The one item whose identifier begins with the digits that were typed (six at least), as tables show them.

    Raises:
        CommandError: they are no such digits, or begin no identifier or those of several items.
    """
    digits = typed.strip().casefold().removeprefix("0x").rstrip("…")
    if len(digits) < 6 or any(c not in "0123456789abcdef" for c in digits):
        raise CommandError(
            _("expected at least six digits of the {kind}'s number, such as 0x1a2b3c; came: {typed}").format(
                kind=kind, typed=typed
            ),
            ExitCode.USAGE,
        )
    found = [item for item in items if id_of(item).hex().startswith(digits)]
    if len(found) == 1:
        return found[0]
    text = _("more than one {kind} has a number that begins with {typed}; type more digits")
    if not found:
        text = _("no {kind} has a number that begins with {typed}")
    raise CommandError(text.format(kind=kind, typed=typed), ExitCode.NOT_FOUND)


def read_input(path: Path, limit_bytes: int) -> bytes:
    """A file's bytes, or standard input's for ``-``; refused beyond the limit before it is read whole."""
    import sys

    if str(path) == "-":
        content = sys.stdin.buffer.read(limit_bytes + 1)
    else:
        with path.open("rb") as file:
            content = file.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise CommandError(
            _("{path} is larger than {limit} KiB, the most that can be").format(
                path=path, limit=limit_bytes // 1024
            ),
            ExitCode.BAD_INPUT,
        )
    return content
