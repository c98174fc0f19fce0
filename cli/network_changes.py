"""`phr network member` and `phr network validator`: who takes part in a running network."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.output import JSON_OPTION, YES_OPTION, confirm, emit_json, say, working
from cli.places import NETWORK_OPTION, find_network
from cli.texts import _
from cli.words import short_hex, split_words

if TYPE_CHECKING:
    from cli.member_changes import Changed
    from engines.bft_administration import Proposal

member_app = typer.Typer(no_args_is_help=True)
validator_app = typer.Typer(no_args_is_help=True)

_PASSPHRASE = typer.Option(
    None, "--passphrase-file", help=_("A private file (0600) with the administrator's passphrase.")
)
_COMET_RPC = typer.Option(
    None,
    "--comet-rpc",
    help=_(
        "A validator's CometBFT RPC, or several with commas, which must tell the same. "
        "Default: the first validator of this machine that answers."
    ),
)


def _quiet(_sentence: str) -> None:
    """For machines: the one document is all that is printed."""


@validator_app.command(name="add", epilog='phr network validator add "Seoul Hospital"')
def add_validator(
    who: str = typer.Argument(
        help=_("A member of this machine, or the validator.json that another organisation sent.")
    ),
    comet_rpc: str | None = _COMET_RPC,
    passphrase_file: Path | None = _PASSPHRASE,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Let one more validator vote: a new one of a member here, or one of another machine that has caught up.

    After one was made here, the nodes that run here are started again, one after the other, so that they ask it too.
    """
    from cli import validator_changes
    from cli.administrator import open_account
    from cli.chain_decisions import ChainDecisions

    place = find_network(network)
    account = open_account(place.administrator_directory, passphrase_file)
    decisions = ChainDecisions.of(place, account, comet_rpc)
    if Path(who).is_file():
        name = who
        block = decisions.decide("validator-add", who, lambda proposal: _ask(proposal, yes, as_json))
    else:
        member = place.member(who)
        if not place.keeps_chain:
            raise CommandError(
                _("this machine's directory runs no validators; name the validator.json of one"),
                ExitCode.REFUSED,
            )
        count = len(decisions.state()["validators"]) + 1
        confirm(
            _(
                "Start a validator of {member} here and let it vote? {count} would vote, of which {faults} may fail."
            ).format(member=member.name, count=count, faults=(count - 1) // 3),
            yes,
            as_json,
        )
        with working(_("the validator starts and catches up")):
            name, block = validator_changes.add_validator(
                place, member, decisions, _quiet if as_json else say
            )
    if as_json:
        return emit_json({"validator": name, "block_number": block})
    say(_("{name} votes since block {block}.").format(name=name, block=block))


@validator_app.command(name="remove", epilog='phr network validator remove "Busan Hospital"')
def remove_validator(
    who: str = typer.Argument(
        help=_("The validator's name or address, or a member of this machine that has one.")
    ),
    comet_rpc: str | None = _COMET_RPC,
    passphrase_file: Path | None = _PASSPHRASE,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Take a validator's vote; one of this machine is ended too, and its directory kept.

    The nodes that run here are started again then, one after the other, so that they ask it no longer.
    """
    from cli import validator_changes
    from cli.administrator import open_account
    from cli.chain_decisions import ChainDecisions

    place = find_network(network)
    names = validator_changes.validator_names(place, who) or [who]
    if len(names) > 1:
        raise CommandError(
            _("{member} has several validators: {names}; name one").format(
                member=who, names=", ".join(names)
            ),
            ExitCode.USAGE,
        )
    account = open_account(place.administrator_directory, passphrase_file)
    decisions = ChainDecisions.of(place, account, comet_rpc)
    block = validator_changes.remove_validator(
        *(place, names[0], decisions),
        lambda proposal: _ask(proposal, yes, as_json),
        _quiet if as_json else say,
    )
    if as_json:
        return emit_json({"validator": names[0], "block_number": block})
    say(_("{name} votes no longer, since block {block}.").format(name=names[0], block=block))


@validator_app.command(
    name="recover", epilog="phr network validator recover /var/lib/phr-chain busan.json daegu.json"
)
def recover_validator(
    home: Path = typer.Argument(
        help=_("The directory of the validator that lost its memory; it must not run.")
    ),
    seen: list[Path] = typer.Argument(
        help=_("What each validator that runs answers to status and dump_consensus_state, a file for each.")
    ),
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Give a validator whose disk is lost, but not its key, a memory of what it has signed, by what the others saw."""
    from engines import bft_recovery

    found = bft_recovery.recover(
        [bft_recovery.read_view(path) for path in seen], bft_recovery.own_address(home)
    )
    place = found.last_signed
    if found.stands:
        question = _(
            "The chain stands at block {height} for want of this vote; it signs there again. This is safe once: if its "
            "old disk never runs again, and no other validator is recovered before blocks come. Go on?"
        ).format(height=place.height)
    else:
        question = _(
            "The others go on without this validator; it signs nothing until block {height}. "
            "Does its old disk never run again?"
        ).format(height=place.height)
    confirm(question, yes, as_json)
    written = bft_recovery.write_last_signed(home, place)
    kept = bft_recovery.read_last_signed(home)
    if as_json:
        memory = None if kept is None else {"height": kept.height, "round": kept.round, "step": kept.step}
        return emit_json({"written": written, "chain_stands": found.stands, "last_signed": memory})
    if written:
        say(
            _("It signs nothing at or below block {height}, round {round}, step {step}. Start it.").format(
                height=place.height, round=place.round, step=place.step
            )
        )
    else:
        say(_("It has a memory that is as far or further: nothing was changed. Start it."))


def _ask(proposal: "Proposal", yes: bool, as_json: bool) -> None:
    confirm(_("{effect}. Decide so?").format(effect=proposal.effect), yes, as_json)


@member_app.command(name="add", epilog='phr network member add "Jeju Clinic=provider,consumer,custodian"')
def add_member(
    who: str = typer.Argument(
        help=_('"NAME=role,role" for a new member on this machine, or the enrolment.json of one elsewhere.')
    ),
    role: list[str] = typer.Option(
        [],
        "--role",
        "-r",
        help=_("With an enrolment.json: provider, consumer, researcher, custodian, auditor."),
    ),
    comet_rpc: str | None = _COMET_RPC,
    passphrase_file: Path | None = _PASSPHRASE,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Admit a member to the chain and enrol it on the ledger, or reinstate one; start what it runs on this machine."""
    from cli import member_changes
    from cli.administration import parse_roles, read_enrolment
    from cli.member_administration import open_administration
    from cli.network_plan import parse_member

    place = find_network(network)
    file = Path(who) if Path(who).is_file() else None
    if (file is not None) != bool(role):
        raise CommandError(
            _('expected "NAME=role,role", or an enrolment.json with --role; came: {who}').format(who=who),
            ExitCode.USAGE,
        )
    enrolment = read_enrolment(file) if file is not None else None
    planned = parse_member(who) if enrolment is None else None
    roles = planned.roles if planned is not None else parse_roles(split_words(role))
    name = planned.name if planned is not None else enrolment.keys.name if enrolment is not None else ""
    question = _('Admit "{name}" as {roles}: to the chain, and on the ledger?')
    confirm(question.format(name=name, roles=", ".join(one.label for one in roles)), yes, as_json)
    with open_administration(place, passphrase_file, comet_rpc) as (administration, decisions):
        if planned is not None:
            tell = _quiet if as_json else say
            done = member_changes.add_member_here(place, planned, administration, decisions, tell)
        elif enrolment is not None:
            done = member_changes.add_member_from_file(enrolment, roles, administration, decisions)
    _report(name, done, _('"{name}" takes part.'), as_json)


@member_app.command(name="remove", epilog='phr network member remove "Jeju Clinic"')
def remove_member(
    who: str = typer.Argument(help=_("The member's name as on the ledger, or part of it.")),
    comet_rpc: str | None = _COMET_RPC,
    passphrase_file: Path | None = _PASSPHRASE,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Suspend a member on the ledger and take its account off the chain's list. What it holds stays with it."""
    from cli import member_changes
    from cli.administration import pick_member
    from cli.member_administration import open_administration

    place = find_network(network)
    with open_administration(place, passphrase_file, comet_rpc) as (administration, decisions):
        member = pick_member(who, administration.members())
        here = next((one for one in place.members if one.name == member.name), None)
        votes = ""
        if here is not None and here.validators:
            votes = _(
                " Its validators ({names}) vote on: remove them with `phr network validator remove`."
            ).format(names=", ".join(here.validators))
        confirm(
            _(
                'Suspend "{name}" ({address}) on the ledger, and let the chain refuse its transactions? '
                "It stays a custodian of what it holds.{votes}"
            ).format(
                name=member.name,
                address=short_hex(member.address),
                votes=votes,
            ),
            yes,
            as_json,
        )
        with working(_("writing to the ledger and the chain")):
            done = member_changes.remove_member(place, member, administration, decisions)
    _report(member.name, done, _('"{name}" takes part no longer.'), as_json)


def _report(name: str, done: "Changed", sentence: str, as_json: bool) -> None:
    if as_json:
        return emit_json(
            {
                "name": name,
                "member": done.address,
                "ledger_block": done.ledger_block,
                "chain_block": done.chain_block,
            }
        )
    say(sentence.format(name=name))
