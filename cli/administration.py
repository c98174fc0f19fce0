"""What the administrator does on the ledger, and how members are read from it without a node."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.administrator import open_account
from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.failures import sentence_of
from cli.options import read_input
from cli.places import NetworkPlace
from cli.replayed import open_chain
from cli.texts import _
from cli.words import match_name
from ledger import calls
from ledger.blocks import Receipt
from ledger.chain import Chain
from ledger.deploy import Deployment
from ledger.entities import Member
from ledger.events import (
    MemberEnrolled,
    MemberKeysChanged,
    MemberReinstated,
    MemberRolesChanged,
    MemberSuspended,
    decode,
    topic,
)
from ledger.messages import MemberKeys, from_json
from ledger.outbox import MemoryOutbox
from ledger.sender import Sender
from ledger.state import LedgerState, apply
from vocabulary import Role, role_mask
from wire.patients import SignedMessage

_MEMBER_EVENTS = (MemberEnrolled, MemberKeysChanged, MemberRolesChanged, MemberSuspended, MemberReinstated)
MAX_ENROLMENT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A member's keys and endpoint, signed by the member itself."""

    keys: MemberKeys
    signature: bytes


@dataclass(frozen=True, slots=True)
class ListedMember:
    """A member as on the ledger."""

    address: bytes
    name: str
    endpoint: str
    roles: tuple[Role, ...]
    active: bool
    key_version: int


def parse_roles(words: Sequence[str]) -> tuple[Role, ...]:
    """Roles by name."""
    try:
        return tuple(dict.fromkeys(Role.from_label(word) for word in words))
    except ValueError as error:
        raise CommandError(str(error), ExitCode.USAGE) from None


def read_enrolment(path: Path) -> Enrolment:
    """The enrolment in a file made by ``phr node init``.

    Raises:
        CommandError: it is not one, or its deadline has passed.
    """
    raw = read_input(path, MAX_ENROLMENT_BYTES)
    try:
        signed = SignedMessage.model_validate_json(raw)
        message = from_json(MemberKeys, signed.message)
    except ValueError as error:
        raise CommandError(
            _("{path} is not an enrolment: {error}").format(path=path, error=sentence_of(error)),
            ExitCode.BAD_INPUT,
        ) from error
    if message.deadline < time.time():
        raise CommandError(
            _("the enrolment in {path} is too old; make a new one with `phr node enrolment`").format(
                path=path
            ),
            ExitCode.BAD_INPUT,
        )
    return Enrolment(message, signed.signature)


def listed_members(chain: Chain, deployment: Deployment) -> list[ListedMember]:
    """The members at the final block, in the order of their enrolment."""
    state = LedgerState(deployment.scope)
    last = chain.final_block().number
    step = chain.engine.max_log_blocks
    topics = [topic(kind) for kind in _MEMBER_EVENTS]
    for first in range(deployment.block_number, last + 1, step):
        for log in chain.logs(deployment.address, first, min(first + step - 1, last), topics):
            apply(state, decode(log))
    return [_listed(member) for member in sorted(state.members.values(), key=lambda m: m.enrolled_block)]


def _listed(member: Member) -> ListedMember:
    return ListedMember(
        member.address,
        member.name,
        member.endpoint,
        Role.in_mask(member.roles),
        member.active,
        member.current_keys.version,
    )


def read_members(place: NetworkPlace) -> list[ListedMember]:
    """The members of a network, read from its chain."""
    with open_chain(place) as (chain, deployment):
        return listed_members(chain, deployment)


def pick_member(typed: str, members: Sequence[ListedMember]) -> ListedMember:
    """The member whose name was typed, whole or in part."""
    return members[match_name(typed, [member.name for member in members], _("member"))]


@dataclass(frozen=True)
class Administration:
    """The administrator at work on one ledger."""

    chain: Chain
    deployment: Deployment
    send: Callable[[bytes], Receipt]

    @classmethod
    @contextmanager
    def open(cls, place: NetworkPlace, passphrase_file: Path | None) -> "Iterator[Administration]":
        """With the administrator's account of a network's directory."""
        account = open_account(place.administrator_directory, passphrase_file)
        with open_chain(place) as (chain, deployment):
            sender = Sender(
                chain, account.address, account.sign_digest, MemoryOutbox(), chain_id=deployment.chain_id
            )
            yield cls(chain, deployment, lambda data: sender.send(deployment.address, data))

    def enrol(self, enrolment: Enrolment, roles: Sequence[Role]) -> Receipt:
        """Enrol a member with roles; ContractRefused where the ledger does not take it."""
        return self.send(calls.enrol_member(enrolment.keys, role_mask(roles), enrolment.signature))

    def set_active(self, member: bytes, active: bool) -> Receipt:
        """Suspend or reinstate a member (20 bytes)."""
        return self.send(calls.set_member_active(member, active))

    def set_roles(self, member: bytes, roles: Sequence[Role]) -> Receipt:
        """Set a member's roles (of an account of 20 bytes) in the place of those that it has."""
        return self.send(calls.set_member_roles(member, role_mask(roles)))

    def seal(self, successor: bytes) -> Receipt:
        """Seal the ledger for good; ``successor`` (20 bytes) is the contract that follows it."""
        return self.send(calls.seal(successor))

    def members(self) -> list[ListedMember]:
        """The members as on the ledger."""
        return listed_members(self.chain, self.deployment)
