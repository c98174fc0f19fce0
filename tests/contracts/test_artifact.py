"""The committed artifact is what the sources give, and its codes are the vocabulary's."""

from enum import IntEnum
from types import ModuleType
from typing import Any

import pytest

from vocabulary import Category, Purpose, Reason, Role

CONTRACT_SIZE_LIMIT_BYTES = 24_576  # EIP-170


@pytest.fixture(scope="module")
def compiled(build: ModuleType) -> dict[str, Any]:
    """The compiler's output for the sources as they are."""
    output: dict[str, Any] = build.compile_contracts()
    return output


def _codes_nodes(compiled: dict[str, Any], node_type: str) -> dict[str, Any]:
    nodes = compiled["sources"]["src/Codes.sol"]["ast"]["nodes"]
    return {node["name"]: node for node in nodes if node["nodeType"] == node_type}


def test_build_from_sources_gives_the_committed_artifact_byte_for_byte(
    build: ModuleType, compiled: dict[str, Any]
) -> None:
    assert build.render_artifact(compiled) == build.ARTIFACT.read_text(encoding="utf-8")


def test_build_of_the_contract_stays_below_the_size_that_chains_admit(artifact: dict[str, Any]) -> None:
    assert len(bytes.fromhex(artifact["deployedBytecode"][2:])) <= CONTRACT_SIZE_LIMIT_BYTES


@pytest.mark.parametrize("vocabulary", [Category, Purpose, Role, Reason], ids=lambda code: code.__name__)
def test_compare_codes_with_the_vocabulary_same_names_and_numbers(
    compiled: dict[str, Any], vocabulary: type[IntEnum]
) -> None:
    members = _codes_nodes(compiled, "EnumDefinition")[vocabulary.__name__]["members"]
    assert [member["name"] for member in members] == [code.name for code in vocabulary]
    assert list(vocabulary) == list(range(len(members)))


def test_compare_masks_with_the_vocabulary_every_code_and_no_other(compiled: dict[str, Any]) -> None:
    constants = _codes_nodes(compiled, "VariableDeclaration")
    masks = {
        name: int(node["value"]["value"], 0)
        for name, node in constants.items()
        if name.startswith(("ROLE_", "KNOWN_"))
    }
    assert masks == {
        "ROLE_PROVIDER": Role.PROVIDER.bit,
        "ROLE_CONSUMER": Role.CONSUMER.bit,
        "ROLE_RESEARCHER": Role.RESEARCHER.bit,
        "KNOWN_CATEGORIES": sum(category.bit for category in Category),
        "KNOWN_PURPOSES": sum(purpose.bit for purpose in Purpose),
        "KNOWN_ROLES": sum(role.bit for role in Role),
    }
