"""``python -m node DIRECTORY`` runs a node; 0 after an orderly end, 1 with the reason when it cannot go on."""

import sys
from pathlib import Path

from crypto.errors import CryptoError
from ledger.errors import LedgerError
from node.errors import NodeError
from node.server import run
from storage import StorageError


def main() -> int:
    """The process: its one argument is the node's directory."""
    if len(sys.argv) != 2:
        sys.stderr.write("expected one argument: the node's directory\n")
        return 2
    try:
        run(Path(sys.argv[1]))
    except (NodeError, LedgerError, CryptoError, StorageError) as error:
        sys.stderr.write(f"the node ended: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
