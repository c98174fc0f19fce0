"""`phr admin`: what the consortium's administrator can do, and nothing else: members, their roles, the seal."""

from pathlib import Path

import typer

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.output import JSON_OPTION, YES_OPTION, confirm, emit_json, say, table, working
from cli.places import NETWORK_OPTION, find_network
from cli.texts import _
from cli.words import short_hex, split_words

app = typer.Typer(no_args_is_help=True)

_PASSPHRASE = typer.Option(
    None, "--passphrase-file", help=_("A private file (0600) with the administrator's passphrase.")
)


@app.command(epilog="phr admin create consortium/administrator")
def create(
    directory: Path = typer.Argument(help=_("The administrator's directory: <network>/administrator.")),
    passphrase_file: Path | None = typer.Option(
        None,
        "--passphrase-file",
        help=_("A private file (0600) with the new passphrase; asked for when absent."),
    ),
    as_json: bool = JSON_OPTION,
) -> None:
    """Make the administrator's account, before there is a chain: its genesis names this account."""
    from cli.administrator import compressed_public_key, create_account, read_passphrase

    account = create_account(directory, read_passphrase(passphrase_file, confirm=True))
    public_key = compressed_public_key(account)
    if as_json:
        return emit_json({"directory": str(directory), "account": account.address, "public_key": public_key})
    say(_("The administrator's account is 0x{address}.").format(address=account.address.hex()))
    say(_("Its public key, for an administrator of several: 0x{key}").format(key=public_key.hex()))
    say(_("Back up {directory}: nobody can replace this key.").format(directory=directory))


@app.command(
    epilog="phr admin deploy --administrator consortium/administrator --rpc http://127.0.0.1:8545 --engine bft "
    "--threshold 3 --out deployment.json"
)
def deploy(
    administrator: Path = typer.Option(
        ..., "--administrator", help=_("The administrator's directory, made by `phr admin create`.")
    ),
    rpc: str = typer.Option(..., "--rpc", help=_("The chain's JSON-RPC URL.")),
    threshold: int = typer.Option(
        ...,
        "--threshold",
        min=2,
        max=32,
        help=_("How many custodians' shares open a record, at least; for ever."),
    ),
    out: Path = typer.Option(
        ..., "--out", "-o", help=_("The new file that names the contract, for all members.")
    ),
    engine: str = typer.Option("bft", "--engine", help=_("Which engine the chain has.")),
    passphrase_file: Path | None = _PASSPHRASE,
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Deploy the contract, once for the whole consortium."""
    from cli.joining import deploy_contract

    confirm(
        _("Deploy a new, empty ledger on {rpc}, whose records need {threshold} shares at least?").format(
            rpc=rpc, threshold=threshold
        ),
        yes,
        as_json,
    )
    with working(_("deploying the contract")):
        deployment = deploy_contract(administrator, passphrase_file, rpc, engine, threshold, out)
    if as_json:
        return emit_json({"deployment": str(out)} | deployment.to_json())
    say(
        _("The contract is 0x{address}, in block {block}. Send {out} to all members.").format(
            address=deployment.address.hex(), block=deployment.block_number, out=out
        )
    )


@app.command(epilog="phr admin enrol members/seoul/enrolment.json --role provider,consumer,custodian")
def enrol(
    file: Path = typer.Argument(help=_("The enrolment that the member signed, made by `phr node init`.")),
    role: list[str] = typer.Option(
        ...,
        "--role",
        "-r",
        help=_("provider, consumer, researcher, custodian, auditor; several are allowed."),
    ),
    passphrase_file: Path | None = _PASSPHRASE,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Enrol a member: its name, endpoint and keys as it signed them, and the roles that you give it."""
    from cli.administration import Administration, parse_roles, read_enrolment

    roles = parse_roles(split_words(role))
    enrolment = read_enrolment(file)
    labels = ", ".join(one.label for one in roles)
    confirm(
        _('Enrol "{name}" ({address}) as {roles}?').format(
            name=enrolment.keys.name, address=short_hex(enrolment.keys.member), roles=labels
        ),
        yes,
        as_json,
    )
    with (
        working(_("writing to the ledger")),
        Administration.open(find_network(network), passphrase_file) as admin,
    ):
        receipt = admin.enrol(enrolment, roles)
    if as_json:
        return emit_json(
            {"member": enrolment.keys.member, "block_number": receipt.block_number, "roles": labels}
        )
    say(_('"{name}" is a member: {roles}.').format(name=enrolment.keys.name, roles=labels))


@app.command(epilog='phr admin suspend "Busan Hospital"')
def suspend(
    member: str = typer.Argument(help=_("The member's name, or part of it.")),
    reinstate: bool = typer.Option(False, "--reinstate", help=_("End a suspension instead.")),
    passphrase_file: Path | None = _PASSPHRASE,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Suspend a member: it can no longer publish, deposit or request. Shares that it holds stay with it."""
    from cli.administration import Administration, pick_member

    with Administration.open(find_network(network), passphrase_file) as admin:
        found = pick_member(member, admin.members())
        if found.active != (not reinstate):
            state = _("active") if found.active else _("suspended")
            raise CommandError(
                _('"{name}" is {state} already').format(name=found.name, state=state), ExitCode.REFUSED
            )
        question = (
            _('Reinstate "{name}"?') if reinstate else _('Suspend "{name}"? All its requests will be denied.')
        )
        confirm(question.format(name=found.name), yes, as_json)
        with working(_("writing to the ledger")):
            receipt = admin.set_active(found.address, reinstate)
    if as_json:
        return emit_json({"member": found.address, "active": reinstate, "block_number": receipt.block_number})
    said = _('"{name}" is reinstated.') if reinstate else _('"{name}" is suspended.')
    say(said.format(name=found.name))


@app.command(epilog='phr admin roles "Busan Hospital" --role provider,consumer')
def roles(
    member: str = typer.Argument(help=_("The member's name, or part of it.")),
    role: list[str] = typer.Option(
        ...,
        "--role",
        "-r",
        help=_("All roles that it has from now on; several are allowed."),
    ),
    passphrase_file: Path | None = _PASSPHRASE,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Give a member other roles, in the place of those that it has. Shares that it holds stay with it."""
    from cli.administration import Administration, parse_roles, pick_member

    wanted = parse_roles(split_words(role))
    labels = ", ".join(one.label for one in wanted)
    with Administration.open(find_network(network), passphrase_file) as admin:
        found = pick_member(member, admin.members())
        confirm(
            _('Give "{name}" the roles {roles}, instead of {former}?').format(
                name=found.name, roles=labels, former=", ".join(one.label for one in found.roles) or "-"
            ),
            yes,
            as_json,
        )
        with working(_("writing to the ledger")):
            receipt = admin.set_roles(found.address, wanted)
    if as_json:
        return emit_json({"member": found.address, "roles": labels, "block_number": receipt.block_number})
    say(_('"{name}" is now: {roles}.').format(name=found.name, roles=labels))


@app.command(epilog="phr admin seal --successor successor/deployment.json")
def seal(
    successor: Path = typer.Option(
        ..., "--successor", help=_("The deployment of the contract that follows this one.")
    ),
    passphrase_file: Path | None = _PASSPHRASE,
    network: Path | None = NETWORK_OPTION,
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Seal the ledger for good, in favour of another: nothing new, while revoking, denying and freezing go on."""
    from cli.administration import Administration
    from cli.replayed import read_deployment

    following = read_deployment(successor)
    with Administration.open(find_network(network), passphrase_file) as admin:
        if following.address == admin.deployment.address:
            raise CommandError(
                _("expected another contract as successor; {file} names the one that is to be sealed").format(
                    file=successor
                ),
                ExitCode.BAD_INPUT,
            )
        if following.chain_id == admin.deployment.chain_id:
            from ledger.provenance import verify_origin

            verify_origin(admin.chain, following)
        confirm(
            _(
                "Seal the ledger {sealed} in favour of {successor}? For good: nobody is enrolled or registered, and "
                "nothing published, granted or requested here any more."
            ).format(sealed=short_hex(admin.deployment.address), successor=short_hex(following.address)),
            yes,
            as_json,
        )
        with working(_("writing to the ledger")):
            receipt = admin.seal(following.address)
    if as_json:
        return emit_json({"successor": following.address, "block_number": receipt.block_number})
    say(_("The ledger is sealed; its successor is 0x{address}.").format(address=following.address.hex()))


@app.command(epilog="phr admin sign proposal.json --administrator consortium/administrator")
def sign(
    proposal: Path = typer.Argument(help=_("The file that `phr-chain propose` wrote.")),
    administrator: Path = typer.Option(
        ..., "--administrator", help=_("The administrator's directory, made by `phr admin create`.")
    ),
    passphrase_file: Path | None = _PASSPHRASE,
    as_json: bool = JSON_OPTION,
    yes: bool = YES_OPTION,
) -> None:
    """Sign a change of the chain as one administrator of several; `phr-chain submit` takes the signatures."""
    from cli.administrator import open_account
    from engines.bft_administration import read_proposal

    found = read_proposal(proposal)
    kinds = ", ".join(str(message.get("type", "?")) for message in found.messages)
    confirm(
        _(
            "Sign: {effect} ({kinds}; digest 0x{digest})? Check it first at a validator of your own: "
            "`phr-chain check` with the same words."
        ).format(effect=found.effect, kinds=kinds, digest=found.digest.hex()),
        yes,
        as_json,
    )
    account = open_account(administrator, passphrase_file)
    signature = account.sign_digest(found.digest)
    if as_json:
        return emit_json({"account": account.address, "digest": found.digest, "signature": signature})
    say("0x" + signature.hex())


@app.command(epilog="phr admin members")
def members(network: Path | None = NETWORK_OPTION, as_json: bool = JSON_OPTION) -> None:
    """List the members as on the ledger."""
    from cli.administration import read_members

    found = read_members(find_network(network))
    if as_json:
        return emit_json(
            [
                {
                    "name": member.name,
                    "address": member.address,
                    "endpoint": member.endpoint,
                    "roles": [role.label for role in member.roles],
                    "active": member.active,
                    "key_version": member.key_version,
                }
                for member in found
            ]
        )
    table(
        [_("name"), _("account"), _("roles"), _("endpoint"), _("keys"), ""],
        [
            (
                member.name,
                short_hex(member.address),
                ", ".join(role.label for role in member.roles),
                member.endpoint,
                _("version {number}").format(number=member.key_version),
                _("active") if member.active else _("suspended"),
            )
            for member in found
        ],
        empty=_("No member is enrolled yet."),
    )
