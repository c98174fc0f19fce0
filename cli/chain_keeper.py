"""The process that keeps a network's embedded chain: it runs Anvil and saves the chain's state.

Anvil holds its state in memory. This keeper writes it down whenever blocks with transactions came, a moment after them,
and at the end; a power cut loses at most what came since. Anvil is a demonstration engine: a consortium's
chain keeps its own state.
"""

import argparse
import signal
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType

import psutil

from engines.processes import Background
from ledger.anvil import Anvil, find_anvil
from ledger.errors import ChainUnreachable, LedgerError

SAVE_SECONDS = 2.0


def keep(directory: Path, binary: Path, port: int) -> int:
    """Run the chain until SIGTERM or SIGINT; returns the exit status."""
    ended = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    with Anvil(directory, binary=binary, port=port) as anvil, anvil.chain() as chain:
        assert anvil.pid is not None
        _engine(directory).remember(anvil.pid)
        saved_block = chain.final_block().number
        while not ended.wait(SAVE_SECONDS):
            try:
                newest = chain.final_block().number
                if _has_transactions(anvil, saved_block + 1, newest):
                    anvil.save()
                saved_block = newest
            except LedgerError:
                # Anvil is gone: the supervisor above us sees this process end.
                return 1
    return 0


def end_orphan(directory: Path, binary: Path, port: int) -> bool:
    """End an Anvil whose keeper was killed, after saving what nobody saved since; False when there is none.

    Left alone it would hold the chain's port, and its newest blocks would be lost with it.
    """
    engine = _engine(directory)
    save = Anvil(directory, binary=binary, port=port).save
    if engine.process() is not None:
        save()
        return engine.stop()
    unnoted = _find_engine(directory, binary)
    if unnoted is None:
        return False
    engine.remember(unnoted)
    # Just started: where it does not answer yet, it has taken nothing in.
    with suppress(ChainUnreachable):
        save()
    return engine.stop()


def _find_engine(directory: Path, binary: Path) -> int | None:
    """An Anvil of this directory whose keeper was killed before it could note it; its pid."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            words = process.cmdline()
            if words[:1] == [str(binary)] and any(word.startswith(f"{directory}/") for word in words):
                return int(process.pid)
    return None


def _engine(directory: Path) -> Background:
    return Background(directory, "anvil-engine")


def _has_transactions(anvil: Anvil, first: int, last: int) -> bool:
    with anvil.chain() as chain:
        numbers = [[hex(number)] for number in range(first, last + 1)]
        counts = chain.request_many("eth_getBlockTransactionCountByNumber", numbers) if numbers else []
    return any(int(str(count), 16) for count in counts)


def main() -> None:
    """``python -m cli.chain_keeper DIRECTORY NODE_MODULES PORT``."""
    parser = argparse.ArgumentParser(description="Keep the embedded chain of a network.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("node_modules", type=Path)
    parser.add_argument("port", type=int)
    given = parser.parse_args()
    raise SystemExit(keep(given.directory, find_anvil(given.node_modules), given.port))


if __name__ == "__main__":
    main()
