"""What a new network is to be: its members and its engines."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cli.administration import parse_roles
from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.places import NetworkPlace
from cli.texts import _
from cli.words import slug, split_words
from vocabulary import Role

ANVIL, BFT = "anvil", "bft"
EMBEDDED, KUBO = "embedded", "kubo"
SQLITE, POSTGRES = "sqlite", "postgres"
LEAST_VALIDATORS = 4
"""Of which one may fail: a chain of n goes on while more than two thirds of n do."""


@dataclass(frozen=True)
class PlannedMember:
    """A member of a network to be made."""

    name: str
    roles: tuple[Role, ...]

    @property
    def runs_node(self) -> bool:
        """Whether it needs a process: an auditor or researcher reads the chain with keys alone."""
        return bool({Role.PROVIDER, Role.CONSUMER, Role.CUSTODIAN} & set(self.roles))

    @property
    def is_custodian(self) -> bool:
        """Whether it holds shares, and blocks for others."""
        return Role.CUSTODIAN in self.roles


_CARE = (Role.PROVIDER, Role.CONSUMER, Role.CUSTODIAN)
DEFAULT_MEMBERS = (
    PlannedMember("Seoul Hospital", _CARE),
    PlannedMember("Busan Hospital", _CARE),
    PlannedMember("Hanok Clinic", _CARE),
    PlannedMember("Health Data Authority", (Role.AUDITOR,)),
)


@dataclass(frozen=True)
class EngineChoice:
    """The engines that were asked for, each by a name, or None where nothing was said."""

    engine: str | None = None
    storage: str | None = None
    database: str | None = None

    def completed(self) -> tuple[str, str, str]:
        """All three: the embedded ones where nothing was said.

        Raises:
            CommandError: a name that is not known.
        """
        for option, given, known in (
            ("--engine", self.engine, (ANVIL, BFT)),
            ("--storage", self.storage, (EMBEDDED, KUBO)),
            ("--database", self.database, (SQLITE, POSTGRES)),
        ):
            if given is not None and given not in known:
                raise CommandError(
                    _("expected {known} as {option}; came {given}").format(
                        known=_(" or ").join(known), option=option, given=given
                    ),
                    ExitCode.USAGE,
                )
        return self.engine or ANVIL, self.storage or EMBEDDED, self.database or SQLITE

    def check_made(self, place: NetworkPlace) -> None:
        """Raise a CommandError where a network that is there has other engines than were asked for."""
        made = (
            place.engine_name,
            KUBO if any(member.kubo_directory for member in place.members) else EMBEDDED,
            POSTGRES if place.has_postgres else SQLITE,
        )
        wanted = (self.engine, self.storage, self.database)
        if any(want is not None and want != has for want, has in zip(wanted, made, strict=True)):
            raise CommandError(
                _("{directory} was made with {made}; engines are chosen when a network is made").format(
                    directory=place.directory, made=", ".join(made)
                ),
                ExitCode.USAGE,
            )


@dataclass(frozen=True)
class Plan:
    """A network to be made. Each engine is chosen by itself.

    Attributes:
        threshold: How many shares open a record, at least.
        engine: The chain: ``anvil`` (embedded, one process) or ``bft`` (validators of the members).
        storage: Where ciphertexts lie: ``embedded`` (in each node) or ``kubo`` (an IPFS daemon for each custodian).
        database: What nodes keep their tables in: ``sqlite`` or ``postgres``.
    """

    members: tuple[PlannedMember, ...] = DEFAULT_MEMBERS
    threshold: int = 2
    engine: str = ANVIL
    storage: str = EMBEDDED
    database: str = SQLITE

    def check(self) -> None:
        """Raise a CommandError where the network could not work."""
        custodians = sum(member.is_custodian for member in self.members)
        if custodians < self.threshold:
            raise CommandError(
                _("expected at least {threshold} custodians; {custodians} are planned").format(
                    threshold=self.threshold, custodians=custodians
                ),
                ExitCode.USAGE,
            )
        if len({slug(member.name) for member in self.members}) < len(self.members):
            raise CommandError(_("expected members with different names"), ExitCode.USAGE)

    def document(self) -> dict[str, Any]:
        """As JSON: the words of ``phr network up`` that ask for it."""
        members = [
            f"{member.name}={','.join(role.label for role in member.roles)}" for member in self.members
        ]
        return asdict(self) | {"members": members}

    @classmethod
    def read(cls, document: dict[str, Any]) -> "Plan":
        """What ``document`` made.

        Raises:
            CommandError: a member is none.
            KeyError, TypeError, ValueError: it is no plan.
        """
        members = tuple(parse_member(str(text)) for text in document["members"])
        engines = (str(document[name]) for name in ("engine", "storage", "database"))
        return cls(members, int(document["threshold"]), *engines)

    def validators(self) -> list[list[str]]:
        """The names of each member's validators, in the order of the members: one each, more where there are few."""
        names: list[list[str]] = [[] for _member in self.members]
        for number in range(max(len(self.members), LEAST_VALIDATORS) if self.engine == BFT else 0):
            round_, at = divmod(number, len(self.members))
            name = slug(self.members[at].name)
            names[at].append(name if round_ == 0 else f"{name}-{round_ + 1}")
        return names


def parse_member(text: str) -> PlannedMember:
    """``Seoul Hospital=provider,consumer,custodian`` as a planned member."""
    name, separator, roles = text.partition("=")
    if not separator or not name.strip():
        raise CommandError(
            _('expected a member such as "Seoul Hospital=provider,consumer,custodian"; came: {text}').format(
                text=text
            ),
            ExitCode.USAGE,
        )
    return PlannedMember(name.strip(), parse_roles(split_words([roles])))


def parse_members(texts: Sequence[str]) -> tuple[PlannedMember, ...]:
    """The members that were named, or the default ones."""
    return tuple(parse_member(text) for text in texts) or DEFAULT_MEMBERS
