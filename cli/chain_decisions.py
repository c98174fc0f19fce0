"""The administrator's decisions on the chain itself: who may send transactions, and who validates."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from cli.errors import CommandError
from cli.exit_codes import ExitCode
from cli.network_parts import LOOK_SECONDS, PROJECT
from cli.network_plan import BFT
from cli.places import NetworkPlace
from cli.texts import _
from crypto.signer import AccountKey
from engines.bft import open_chain, run_program
from engines.bft_administration import Action, Proposal, propose, submit
from engines.binaries import find_binary


@dataclass(frozen=True)
class ChainDecisions:
    """One chain, as its administrator decides on it, through the CometBFT RPC of running validators.

    Attributes:
        comet_rpc: The validator that is asked and told.
        confirming: Further ones, which must tell the same of the chain before anything is signed.
    """

    binary: Path
    comet_rpc: str
    account: AccountKey
    confirming: tuple[str, ...] = ()

    @classmethod
    def of(cls, place: NetworkPlace, account: AccountKey, comet_rpc: str | None) -> "ChainDecisions":
        """Through the validators that were named (separated by commas), else the first of this machine that answers.

        Raises:
            CommandError: the network has another engine, or nobody answers.
            EngineNotBuilt: ``phr-chain`` is not on this machine.
        """
        if place.engine_name != BFT:
            raise CommandError(
                _(
                    "{directory} has the chain {engine}, which has neither validators nor a list of members"
                ).format(directory=place.directory, engine=place.engine_name),
                ExitCode.REFUSED,
            )
        first, *others = (comet_rpc or _first_that_answers(place)).split(",")
        return cls(find_binary(PROJECT, "phr-chain"), first, account, tuple(others))

    def state(self) -> dict[str, Any]:
        """Height, validators and members, as ``phr-chain status`` prints them; EngineFailed where nobody answers."""
        return run_program(self.binary, Path("/"), "status", "--comet-rpc", self.comet_rpc)

    def has_member(self, member: bytes) -> bool:
        """Whether the chain takes transactions of an account (20 bytes)."""
        return any(bytes.fromhex(str(one)[2:]) == member for one in self.state()["members"])

    def decide(self, action: Action, subject: str, ask: Callable[[Proposal], None]) -> int:
        """Propose, ask, sign and hand in; the block.

        Raises:
            CommandError: the administrator is another account, or several; or the answer was no.
            EngineFailed: the chain refuses, or does not answer.
        """
        with TemporaryDirectory(prefix="phr-proposal-") as directory:
            out = Path(directory) / "proposal.json"
            proposal = propose(self.binary, self.comet_rpc, action, subject, out, self.confirming)
            if proposal.threshold > 1 or proposal.administrator != self.account.address:
                raise CommandError(
                    _(
                        "this chain's administrator is {administrator}, of {threshold} signatures; the account here is "
                        "{account}. Let each sign what `phr-chain propose` writes with `phr admin sign`"
                    ).format(
                        administrator="0x" + proposal.administrator.hex(),
                        threshold=proposal.threshold,
                        account=self.account.checksum_address,
                    ),
                    ExitCode.REFUSED,
                )
            ask(proposal)
            signature = self.account.sign_digest(proposal.digest)
            return submit(self.binary, self.comet_rpc, proposal, [signature])


def _first_that_answers(place: NetworkPlace) -> str:
    if not place.keeps_chain:
        raise CommandError(
            _("name a validator's CometBFT RPC with --comet-rpc, such as http://127.0.0.1:26657"),
            ExitCode.USAGE,
        )
    for validator in open_chain(place.chain_directory, PROJECT).validators:
        url = f"http://127.0.0.1:{validator.comet_rpc_port}"
        try:
            httpx.get(url + "/health", timeout=LOOK_SECONDS, trust_env=False).raise_for_status()
        except httpx.HTTPError:
            continue
        return url
    raise CommandError(
        _("no validator of {directory} answers; start them with `phr network up`").format(
            directory=place.directory
        ),
        ExitCode.UNREACHABLE,
    )
