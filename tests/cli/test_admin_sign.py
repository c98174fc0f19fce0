"""One administrator of several signs a change of the chain: exactly what the file says is signed, or nothing."""

import json
from pathlib import Path

import pytest
from coincurve import PublicKey
from eth_utils.crypto import keccak
from phr_commands import make_private, run_phr

from cli.exit_codes import ExitCode
from ledger.addresses import from_public_key

SIGN_BYTES = '{"account_number":"0","chain_id":"phr-1","msgs":[{"type":"evm/MsgUpdateParams","value":{}}]}'


@pytest.fixture
def administrator(tmp_path: Path) -> tuple[object, ...]:
    passphrase = make_private(tmp_path / "passphrase", "correct horse\n")
    run_phr("admin", "create", tmp_path / "administrator", "--passphrase-file", passphrase)
    return ("--administrator", tmp_path / "administrator", "--passphrase-file", passphrase)


def _proposal(path: Path, **changes: object) -> Path:
    document = {
        "effect": "account 0x11 becomes a member of the chain",
        "threshold": 2,
        "administrator": "0x" + "22" * 20,
        "sign_bytes": SIGN_BYTES,
        "digest": keccak(SIGN_BYTES.encode()).hex(),
    }
    path.write_text(json.dumps(document | changes))
    return path


def test_signature_is_of_the_digest_and_by_the_administrator(
    administrator: tuple[object, ...], tmp_path: Path
) -> None:
    file = _proposal(tmp_path / "proposal.json")
    made = run_phr("admin", "sign", file, *administrator, "--yes", "--json").document
    signature = bytes.fromhex(made["signature"].removeprefix("0x"))
    recoverable = signature[:64] + bytes([signature[64] - 27])
    key = PublicKey.from_signature_and_message(recoverable, keccak(SIGN_BYTES.encode()), hasher=None)
    assert "0x" + from_public_key(key.format(compressed=False)).hex() == made["account"]
    plain = run_phr("admin", "sign", file, *administrator, "--yes").out.strip()
    assert plain == made["signature"], "signatures are deterministic"


@pytest.mark.parametrize(
    "changes",
    [
        {"sign_bytes": SIGN_BYTES.replace("phr-1", "phr-2")},
        {"digest": "00" * 32},
        {"sign_bytes": "[]"},
        {"threshold": "two"},
    ],
)
def test_attack_proposal_whose_digest_is_of_something_else_is_not_signed(
    administrator: tuple[object, ...], tmp_path: Path, changes: dict[str, object]
) -> None:
    file = _proposal(tmp_path / "proposal.json", **changes)
    done = run_phr("admin", "sign", file, *administrator, "--yes", "--json")
    assert done.exit_code == ExitCode.BAD_INPUT
    assert "signature" not in done.document


def test_machine_that_did_not_say_yes_signs_nothing(
    administrator: tuple[object, ...], tmp_path: Path
) -> None:
    file = _proposal(tmp_path / "proposal.json")
    assert run_phr("admin", "sign", file, *administrator, "--json").exit_code == ExitCode.USAGE
