"""Making a chain on this machine, by the same ceremony as between organisations, with the same program.

Each validator makes its keys in its own directory, hands over the public half, makes the genesis by itself from all
public halves, and compares its digest with the others'.
"""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from crypto.private_file import atomic_write_private
from engines.bft import DESCRIPTION_FILE, BftChain, ValidatorPlace, describe_chain, run_program, slug_of
from engines.errors import EngineFailed, EnginesError
from ledger.ports import free_ports

VALIDATORS = 4
"""The least number of which one may fail, stop or lie: 3 f + 1 with f = 1."""
_ADDRESS_BYTES = 20
_LEAST_EVM_CHAIN_ID, _EVM_CHAIN_IDS = 10**9, 10**15
"""Numbers drawn from so many that two networks never share one, above those of public networks, below 2**53."""


def create_chain(
    directory: Path,
    binary: Path,
    administrator: bytes,
    members: Sequence[bytes],
    *,
    evm_chain_id: int | None = None,
    names: Sequence[str] = (),
    count: int = VALIDATORS,
    deployer: bytes | None = None,
    commit_timeout_milliseconds: int | None = None,
    empty_blocks_milliseconds: int | None = None,
) -> BftChain:
    """Makes a chain: the ceremony of ``count`` validators; none is started. An interrupted run is begun anew.

    Args:
        directory: A place of its own.
        binary: ``phr-chain``.
        evm_chain_id: The number (EIP-155) that each transaction is signed for. A random one where None: what a member's
            account signs on a network for trying must be worth nothing on any other that it is used on.
        administrator: The account (20 bytes) that administers the chain.
        members: The accounts (20 bytes each) whose transactions the chain takes.
        names: The validators' names, different from each other; "validator-1" and so on where none are given.
        deployer: The account (20 bytes) that may deploy contracts, where it is not the administrator.
        commit_timeout_milliseconds: How long validators wait between blocks; the program's own choice where None.
        empty_blocks_milliseconds: After how long a block comes without a transaction; 0 as soon as with one, the
            program's own choice where None.

    Raises:
        EnginesError: there is a chain already, or an address or a name cannot be used.
        EngineFailed: the program refuses a step, or the validators' digests of the genesis differ.
    """
    names = tuple(names) or tuple(f"validator-{number}" for number in range(1, count + 1))
    slugs = [slug_of(name) for name in names]
    if len(set(slugs)) < len(slugs) or not all(slugs):
        raise EnginesError(
            f"expected validators with different names of letters and digits; came {', '.join(names)}"
        )
    for account in (administrator, *members, *((deployer,) if deployer is not None else ())):
        if len(account) != _ADDRESS_BYTES:
            raise EnginesError(f"expected accounts of 20 bytes; one has {len(account)}")
    if (directory / DESCRIPTION_FILE).exists():
        raise EnginesError(f"{directory} has a chain already: nothing was changed")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    homes = [directory / "validators" / slug for slug in slugs]
    identities = [make_validator_keys(binary, home, name) for home, name in zip(homes, names, strict=True)]
    chain_id = f"phr-{secrets.token_hex(4)}"
    if evm_chain_id is None:
        evm_chain_id = _LEAST_EVM_CHAIN_ID + secrets.randbelow(_EVM_CHAIN_IDS)
    genesis_sha256 = _make_genesis(
        binary,
        homes,
        administrator,
        members,
        chain_id=chain_id,
        evm_chain_id=evm_chain_id,
        deployer=deployer,
    )
    ports = free_ports(3 * len(homes))
    validators = tuple(
        ValidatorPlace(home, name, str(identity["node_id"]), *ports[3 * number : 3 * number + 3])
        for number, (home, name, identity) in enumerate(zip(homes, names, identities, strict=True))
    )
    for validator in validators:
        configure_validator(
            binary, validator, validators, commit_timeout_milliseconds, empty_blocks_milliseconds
        )
    chain = BftChain(directory, binary, chain_id, evm_chain_id, genesis_sha256, validators)
    atomic_write_private(directory / DESCRIPTION_FILE, describe_chain(chain))
    return chain


def make_validator_keys(binary: Path, home: Path, name: str) -> dict[str, Any]:
    """A validator's keys, made once; the public half."""
    public_half = home / "validator.json"
    if not public_half.exists():
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        run_program(binary, home, "init", "--home", str(home), "--name", name)
    found: dict[str, Any] = orjson.loads(public_half.read_bytes())
    return found


def _make_genesis(
    binary: Path,
    homes: Sequence[Path],
    administrator: bytes,
    members: Sequence[bytes],
    *,
    chain_id: str,
    evm_chain_id: int,
    deployer: bytes | None,
) -> str:
    """The genesis as each validator makes it for itself; its SHA-256 in hexadecimal, the same for all."""
    began = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    given = ["--chain-id", chain_id, "--evm-chain-id", str(evm_chain_id), "--genesis-time", began]
    given += ["--administrator", "0x" + administrator.hex()]
    given += [] if deployer is None else ["--deployer", "0x" + deployer.hex()]
    given += [part for member in members for part in ("--member", "0x" + member.hex())]
    given += [part for home in homes for part in ("--validator", str(home / "validator.json"))]
    for home in homes:
        # Of a run that was interrupted; nobody has started from it.
        (home / "genesis.json").unlink(missing_ok=True)
    digests = {
        str(run_program(binary, home, "genesis", *given, "--out", str(home / "genesis.json"))["sha256"])
        for home in homes
    }
    if len(digests) != 1:
        raise EngineFailed(f"the validators made different genesis files: {', '.join(sorted(digests))}")
    return digests.pop()


def configure_validator(
    binary: Path,
    validator: ValidatorPlace,
    validators: Sequence[ValidatorPlace],
    commit_timeout_milliseconds: int | None = None,
    empty_blocks_milliseconds: int | None = None,
) -> None:
    """Writes a validator's configuration, with all others as its peers and allowed nodes; it may run.

    It reads the list of allowed nodes at each connection, and the rest when it starts.

    Raises:
        EngineFailed: the program refuses, such as for another chain's genesis.
    """
    home = validator.directory
    given = ["--home", str(home), "--genesis", str(home / "genesis.json"), "--replace-allowed-nodes"]
    given += ["--p2p-listen", f"127.0.0.1:{validator.p2p_port}"]
    given += ["--json-rpc", f"127.0.0.1:{validator.json_rpc_port}"]
    given += ["--comet-rpc", f"127.0.0.1:{validator.comet_rpc_port}"]
    for other in validators:
        if other is not validator:
            given += ["--peer", f"{other.node_id}@127.0.0.1:{other.p2p_port}"]
    if commit_timeout_milliseconds is not None:
        given += ["--commit-timeout", f"{commit_timeout_milliseconds}ms"]
    if empty_blocks_milliseconds is not None:
        given += ["--empty-blocks-interval", f"{empty_blocks_milliseconds}ms"]
    run_program(binary, home, "configure", *given)
