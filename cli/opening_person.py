"""An auditor asks a member who was behind an access, and does not take the answer's word for it."""

import hmac
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from pydantic import ValidationError

from cli.administration import read_members
from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.places import NetworkPlace
from cli.staff_client import refusal
from cli.texts import _
from crypto.person import person_commitment
from node.config import NodeConfig
from node.initialise import open_identity
from wire.audit import Opening, OpeningRequest
from wire.limits import JSON_BYTES
from wire.signing import sign_request

if TYPE_CHECKING:
    from ledger.history import HistoryRow

_PATH = "/audit/openings"


def open_commitment(place: NetworkPlace, auditor_directory: Path, row: "HistoryRow") -> Opening:
    """The person behind a decision, as its member says and the ledger's commitment confirms.

    Raises:
        CommandError: the member refuses, does not answer, or answers what does not match the ledger.
    """
    identity = open_identity(NodeConfig.load(auditor_directory))
    members = {member.address: member for member in read_members(place)}
    endpoint = members[row.requester].endpoint
    body = OpeningRequest(patient=row.patient, sequence=row.sequence).model_dump_json().encode()
    headers = sign_request("POST", _PATH, body, row.requester, identity.request_key)
    try:
        response = httpx.post(
            endpoint + _PATH,
            content=body,
            headers={**headers, "Content-Type": "application/json"},
            timeout=30,
            trust_env=False,
        )
    except httpx.HTTPError as error:
        raise CommandError(
            _("{name} does not answer at {endpoint}").format(name=row.requester_name, endpoint=endpoint),
            ExitCode.UNREACHABLE,
        ) from error
    if response.status_code != 200:
        raise refusal(response.status_code, response.content[:JSON_BYTES])
    try:
        opening = Opening.model_validate_json(response.content[:JSON_BYTES])
    except ValidationError as error:
        raise CommandError(_("{name} answered something else").format(name=row.requester_name)) from error
    recomputed = person_commitment(opening.salt, row.requester, opening.staff_id, opening.role)
    if not hmac.compare_digest(recomputed, row.person_commitment):
        raise CommandError(
            _("{name} named {staff}, but that does not match what it committed to on the ledger").format(
                name=row.requester_name, staff=opening.staff_id
            ),
            ExitCode.DIVERGED,
        )
    return opening
