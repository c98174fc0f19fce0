"""The embedded chain's engine, whose keeper may be killed at any line."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil

from cli.chain_keeper import end_orphan
from ledger.anvil import Anvil, find_anvil
from ledger.ports import free_ports

NODE_MODULES = Path(__file__).parents[2] / "node_modules"


def test_engine_whose_keeper_was_killed_before_it_noted_it_is_ended_and_saved(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from ledger.anvil import Anvil

        anvil = Anvil(Path(sys.argv[1]), binary=Path(sys.argv[2]), port=int(sys.argv[3]))
        anvil.start()
        anvil.mine(3)
        print(anvil.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    binary, [port] = find_anvil(NODE_MODULES), free_ports(1)
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), str(binary), str(port)],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    try:
        other = tmp_path / "other"
        other.mkdir()
        assert end_orphan(other, binary, port) is False
        assert psutil.pid_exists(pid)
        assert end_orphan(tmp_path, binary, port) is True
        assert end_orphan(tmp_path, binary, port) is False
    finally:
        if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            os.kill(pid, signal.SIGKILL)
    with Anvil(tmp_path, binary=binary, port=port) as again, again.chain() as chain:
        assert chain.final_block().number >= 3
