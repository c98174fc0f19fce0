"""Compiles the contracts into the committed artifact, the same byte for byte on every machine.

Run by ``scripts/contracts build`` (write) and ``scripts/contracts check`` (compare only).
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import solcx

ROOM = Path(__file__).resolve().parent
ARTIFACT = ROOM / "artifacts" / "ConsentLedger.json"
COMPILER = ROOM / "solc"
CONTRACT = "ConsentLedger"
MAIN_SOURCE = f"src/{CONTRACT}.sol"

SETTINGS: dict[str, Any] = {
    "evmVersion": "cancun",
    "optimizer": {"enabled": True, "runs": 200},
    "viaIR": False,
    # No metadata at the end of the bytecode: it would change with every comment.
    "metadata": {"appendCBOR": False, "bytecodeHash": "none"},
}


class BuildError(Exception):
    """The contracts could not be built, or the committed artifact is not what the sources give."""


def compiler_input() -> dict[str, Any]:
    """The compiler's standard JSON input: our sources by their path in the room; the compiler finds the library's."""
    sources = {path.relative_to(ROOM).as_posix(): path for path in sorted((ROOM / "src").rglob("*.sol"))}
    return {
        "language": "Solidity",
        "sources": {name: {"content": path.read_text(encoding="utf-8")} for name, path in sources.items()},
        "settings": SETTINGS
        | {
            "outputSelection": {
                MAIN_SOURCE: {
                    CONTRACT: ["abi", "evm.bytecode.object", "evm.deployedBytecode.object", "storageLayout"]
                },
                "*": {"": ["ast"]},
            }
        },
    }


def compile_contracts() -> dict[str, Any]:
    """The compiler's whole standard JSON output.

    Raises:
        BuildError: the compiler reports an error or a warning; the message holds all of them.
    """
    try:
        output: dict[str, Any] = solcx.compile_standard(compiler_input(), solc_binary=COMPILER)
    except solcx.exceptions.SolcError as error:
        raise BuildError(f"expected sources that compile; the compiler says:\n{error.message}") from error
    complaints = [error["formattedMessage"] for error in output.get("errors", [])]
    if complaints:
        raise BuildError("expected sources without complaints; the compiler says:\n" + "\n".join(complaints))
    return output


def render_artifact(output: dict[str, Any]) -> str:
    """The artifact's text: ABI, bytecode (hex with 0x) and compiler settings, with sorted keys."""
    contract = output["contracts"][MAIN_SOURCE][CONTRACT]
    version = solcx.wrapper.get_version_str_from_solc_binary(COMPILER)
    artifact = {
        "contractName": CONTRACT,
        "compiler": {"version": version, "settings": SETTINGS},
        "abi": contract["abi"],
        "bytecode": "0x" + contract["evm"]["bytecode"]["object"],
        "deployedBytecode": "0x" + contract["evm"]["deployedBytecode"]["object"],
    }
    return json.dumps(artifact, indent=1, sort_keys=True) + "\n"


def main() -> int:
    """Writes the artifact, or with ``--check`` compares it; 0 if all is well, 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="compare with the committed artifact, write nothing"
    )
    arguments = parser.parse_args()
    try:
        text = render_artifact(compile_contracts())
        if arguments.check and ARTIFACT.read_text(encoding="utf-8") != text:
            raise BuildError(f"{ARTIFACT.name} is not what the sources give: run `./scripts/contracts build`")
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if not arguments.check:
        ARTIFACT.parent.mkdir(exist_ok=True)
        ARTIFACT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
