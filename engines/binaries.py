"""Where the engines' binaries are: built once a version into a cache, and linked from the project's directory."""

import os
from pathlib import Path

from engines.errors import EngineNotBuilt

LINKS = ".engines"
"""The folder of the project with a link to each binary that ``./scripts/network build`` made."""


def find_binary(project: Path, name: str) -> Path:
    """The binary of an engine, ``phr-chain`` or ``ipfs``, that was built for this project.

    Args:
        project: The project's directory, which has ``.engines``.

    Raises:
        EngineNotBuilt: it was not built, or cannot be executed.
    """
    binary = project / LINKS / name
    if not binary.is_file():
        raise EngineNotBuilt(
            f"expected the engine {name} at {binary}; it is not there: run ./scripts/network build"
        )
    if not os.access(binary, os.X_OK):
        raise EngineNotBuilt(f"{binary} cannot be executed: run ./scripts/network build again")
    return binary.resolve()
