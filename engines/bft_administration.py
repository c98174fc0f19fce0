"""What the chain's administrator decides: proposed and handed in by ``phr-chain``, signed elsewhere.

The administrator's key never enters that process: it writes what is to be signed, and takes the signature.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson
from eth_utils.crypto import keccak

from engines.bft import run_program
from engines.errors import EngineFailed, EnginesError

Action = Literal["member-add", "member-remove", "validator-add", "validator-remove"]
MAX_PROPOSAL_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Proposal:
    """A transaction of the administrator that waits for signatures.

    Attributes:
        path: Its file, which goes from one administrator to the next where several must sign.
        effect: What it changes, in the words of the program that wrote the file.
        messages: What is signed, as the chain will read it.
        digest: The 32 bytes to sign, which were recomputed from what is signed.
        threshold: How many signatures it needs.
        administrator: The account (20 bytes) whose transaction it is.
    """

    path: Path
    effect: str
    messages: tuple[dict[str, Any], ...]
    digest: bytes
    threshold: int
    administrator: bytes


def propose(
    binary: Path, comet_rpc: str, action: Action, subject: str, out: Path, confirming: Sequence[str] = ()
) -> Proposal:
    """Writes a proposal into ``out``.

    Args:
        comet_rpc: The CometBFT RPC of a running validator, for example ``http://127.0.0.1:26657``.
        subject: An account as 0x and 40 digits for members; for validators the path of a ``validator.json`` to add,
            and a name or address to remove.
        confirming: The same of further validators, from whose answers the same must follow: a proposal contains the
            chain's lists as the first one tells them, and one that lies could add itself to them.

    Raises:
        EngineFailed: the program refuses: nobody answers, it is so already, or a validator tells something else.
    """
    where = ["--comet-rpc", comet_rpc, "--out", str(out)]
    where += [part for url in confirming for part in ("--confirm", url)]
    run_program(binary, out.parent, "propose", action, subject, *where)
    return read_proposal(out)


def read_proposal(path: Path) -> Proposal:
    """A proposal from its file, which may have come from elsewhere: the digest is recomputed, not believed.

    Raises:
        EnginesError: it is none, or its digest is not that of what it says is signed.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_PROPOSAL_BYTES + 1)
        if len(raw) > MAX_PROPOSAL_BYTES:
            raise EnginesError(
                f"expected a proposal of at most {MAX_PROPOSAL_BYTES} bytes in {path}; came more"
            )
        found = orjson.loads(raw)
        sign_bytes = str(found["sign_bytes"]).encode()
        digest = bytes.fromhex(str(found["digest"]).removeprefix("0x"))
        messages = tuple(dict(message) for message in orjson.loads(sign_bytes)["msgs"])
        proposal = Proposal(
            path,
            str(found["effect"]),
            messages,
            keccak(sign_bytes),
            int(found["threshold"]),
            bytes.fromhex(str(found["administrator"]).removeprefix("0x")),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EnginesError(f"expected a proposal that phr-chain wrote in {path}: {error}") from error
    if digest != proposal.digest:
        raise EnginesError(f"the digest in {path} is not that of what it says is signed: do not sign it")
    return proposal


def submit(binary: Path, comet_rpc: str, proposal: Proposal, signatures: Sequence[bytes]) -> int:
    """Hands in a signed proposal and waits for its block; the block's number. Again gives the same block.

    Raises:
        EnginesError: too few signatures.
        EngineFailed: the chain refuses it, or no block came in time.
    """
    if len(signatures) < proposal.threshold:
        raise EnginesError(f"expected {proposal.threshold} signatures; came {len(signatures)}")
    given = [part for signature in signatures for part in ("--signature", "0x" + signature.hex())]
    where = ("--comet-rpc", comet_rpc, "--proposal", str(proposal.path))
    answer = run_program(binary, proposal.path.parent, "submit", *where, *given)
    try:
        return int(answer["height"])
    except (KeyError, TypeError, ValueError) as error:
        raise EngineFailed(f"expected the block of a submitted proposal; came {answer}") from error
