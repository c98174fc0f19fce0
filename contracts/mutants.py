"""Breaks the contract in one place at a time and expects its tests to fail: what nobody notices is not tested.

Run by ``scripts/contracts mutants``, in a temporary copy; some minutes. Not part of the everyday tests.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOM = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Mutant:
    """One change of one source file, in which ``before`` occurs exactly once, and the test file that must notice it."""

    file: str
    before: str
    after: str
    test: str


MUTANTS = [
    Mutant(
        "LedgerBase.sol",
        "require(recovered == expected,",
        "require(recovered != address(0),",
        "ConsentRegistry",
    ),
    Mutant("LedgerBase.sol", "deadline >= block.timestamp", "deadline > 0", "ConsentRegistry"),
    Mutant("LedgerBase.sol", "require(deadline <= latest,", "require(deadline > 0,", "ConsentRegistry"),
    Mutant(
        "MemberRegistry.sol",
        "keys.nonce == expectedVersion",
        "keys.nonce >= expectedVersion",
        "MemberRegistry",
    ),
    Mutant(
        "PatientRegistry.sol", "policy.nonce > word.policyNonce()", "policy.nonce >= 0", "PatientRegistry"
    ),
    Mutant(
        "PatientRegistry.sol", "rotation.epoch == expected", "rotation.epoch <= expected", "PatientRegistry"
    ),
    Mutant("PatientRegistry.sol", "_startAccessChain(patient);\n    }", "}", "PatientRegistry"),
    Mutant(
        "RecordRegistry.sol", "publication.epoch == epoch", "publication.epoch <= epoch", "RecordRegistry"
    ),
    Mutant(
        "RecordRegistry.sol",
        "restriction.nonce > word.statusNonce()",
        "restriction.nonce >= 0",
        "RecordRegistry",
    ),
    Mutant(
        "RecordRegistry.sol", "if (superseded.hasFlag(RECORD_RESTRICTED))", "if (false)", "RecordRegistry"
    ),
    Mutant("ConsentRegistry.sol", "status == uint8(ConsentStatus.NONE)", "status != 1", "ConsentRegistry"),
    Mutant(
        "ConsentRegistry.sol",
        "hashStruct(GRANT_TYPEHASH, location, 13)",
        "hashStruct(GRANT_TYPEHASH, location, 12)",
        "ConsentRegistry",
    ),
    Mutant("ConsentRegistry.sol", "require(terms.flags == 0,", "require(true,", "ConsentRegistry"),
    Mutant("Decision.sol", "time >= validUntil", "time > validUntil", "Decision"),
    Mutant("Decision.sol", "time < validFrom", "time <= validFrom", "Decision"),
    Mutant("Decision.sol", "0x0002_0004_0002_0002_0002_0000", "0x0002_0004_0002_0002_0002_0002", "Decision"),
    Mutant("Decision.sol", "FLAG_TO_REASON_SHIFT = 2", "FLAG_TO_REASON_SHIFT = 3", "Decision"),
    Mutant("words/ConsentWord.sol", "endDay <=", "endDay <= 1 +", "Decision"),
    Mutant("words/ConsentWord.sol", ">= maximum", "> maximum", "Decision"),
    Mutant("words/HeadWord.sol", "(sequence << 8) | reason", "(sequence << 8)", "AccessLog"),
    Mutant("words/HeadWord.sol", "require(next <= type(uint32).max, ChainFull());", "", "AccessLog"),
    Mutant(
        "words/RecordWord.sol",
        "restricted ? bits | flagBit : bits & ~flagBit",
        "bits | flagBit",
        "RecordRegistry",
    ),
    Mutant("AccessLog.sol", "group.consent = consent.withOneUse()", "consent.withOneUse()", "AccessLog"),
    Mutant("AccessLog.sol", "record.patient() == group.patient", "true", "AccessLog"),
    Mutant(
        "Hashing.sol",
        "mstore(add(start, 0x80), personCommitment)",
        "mstore(add(start, 0x80), 0)",
        "AccessLog",
    ),
    Mutant("Relay.sol", "require(gasleft() > gasBefore / 63, RelayOutOfGas(i));", "", "Relay"),
]


def survives(mutant: Mutant, work: Path) -> bool:
    """Whether the contracts' tests stay green on the mutant, in the copy ``work`` of the room."""
    path = work / "src" / mutant.file
    original = path.read_text(encoding="utf-8")
    if original.count(mutant.before) != 1:
        raise SystemExit(
            f"expected {mutant.before!r} once in {mutant.file}; found {original.count(mutant.before)}"
        )
    path.write_text(original.replace(mutant.before, mutant.after), encoding="utf-8")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(work),
        "FOUNDRY_SOLC": str(work / "solc"),
    }
    # Only the test file that is named: what it needs compiles in a fraction of the time of all.
    test = [str(work.parent / "node_modules/.bin/forge"), "test", "--root", str(work), "--match-path"]
    try:
        result = subprocess.run(
            [*test, f"test/{mutant.test}.t.sol"], env=environment, capture_output=True, text=True
        )
        if "Suite result" not in result.stdout:
            raise SystemExit(
                f"expected a mutant that compiles; {mutant} gives:\n{result.stdout}{result.stderr}"
            )
        return result.returncode == 0
    finally:
        path.write_text(original, encoding="utf-8")


def main() -> int:
    """Tries every mutant; 0 if all are noticed, 1 with those that are not on standard output."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "contracts"
        shutil.copytree(ROOM, work, ignore=shutil.ignore_patterns("cache", "out", "artifacts"))
        (Path(folder) / "node_modules").symlink_to(ROOM.parent / "node_modules")
        survivors = 0
        for mutant in MUTANTS:
            survived = survives(mutant, work)
            survivors += survived
            sys.stdout.write(
                f"{'SURVIVES' if survived else 'noticed '} {mutant.file}: {mutant.after or 'removed'}\n"
            )
            sys.stdout.flush()
    sys.stdout.write(f"{len(MUTANTS) - survivors} of {len(MUTANTS)} mutants noticed\n")
    return int(survivors != 0)


if __name__ == "__main__":
    raise SystemExit(main())
