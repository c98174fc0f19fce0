"""A validator whose disk is lost while the chain stands: the operations guide's own commands bring the chain back."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chain_fixtures import Validators

from engines.bft import BftChain
from engines.bft_recovery import STATE_PATH, LastSigned, read_last_signed
from ledger.chain import Chain
from ledger.engine import BFT

pytestmark = [pytest.mark.network, pytest.mark.timeout(600)]
PAGE = Path(__file__).parents[2] / "docs" / "operations" / "backup.md"
STANDS_SECONDS = 5.0
"""Ten times the usual time between blocks."""
ARRIVES_SECONDS = 240.0


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[BftChain]:
    # A hundred blocks above the others, who have nothing to do: a test does not wait eight minutes.
    started = Validators.start(tmp_path / "chain", accounts=1, empty_blocks_milliseconds=500)
    yield started.running
    started.running.kill()


def commands_of_the_page() -> tuple[str, str]:
    """What the others run for each validator, and what the operator of the lost one runs, as they are written."""
    section = PAGE.read_text().partition("\n## Restoring a validator\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```$", section, re.MULTILINE | re.DOTALL)
    ask, recover = blocks
    assert "dump_consensus_state" in ask
    assert "phr network validator recover" in recover
    return ask, recover


def run(script: str, directory: Path) -> None:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.defpath))
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=directory,
        env={"PATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def recover_by_the_page(chain: BftChain, lost: int, living: dict[str, int], directory: Path) -> None:
    """The page's commands, with this machine's paths and ports."""
    ask, recover = commands_of_the_page()
    for name, index in living.items():
        port = chain.validators[index].comet_rpc_port
        run(ask.replace("26657", str(port)).replace("busan.json", name), directory)
    here = recover.replace("/var/lib/phr-chain", str(chain.validators[lost].directory))
    here = here.replace("sudo -u phr-chain ", "").replace("systemctl start phr-chain", "")
    assert "busan.json daegu.json" in here, "the page names the files as this test does"
    run(here.replace("busan.json daegu.json", f"{' '.join(living)} --yes"), directory)


def require_standing(chain: BftChain, living: list[int]) -> int:
    """The height at which the chain stands."""
    deadline, height, since = time.monotonic() + 120, -1, time.monotonic()
    while time.monotonic() - since < STANDS_SECONDS:
        assert time.monotonic() < deadline, "the chain goes on without a quorum"
        found = [chain.validators[index].height() for index in living]
        if len(set(found)) > 1 or found[0] != height:
            height, since = found[0] or -1, time.monotonic()
        time.sleep(0.1)
    return height


def require_one_history(chain: BftChain) -> None:
    heights = [height for height in chain.heights() if height is not None]
    assert len(heights) == len(chain.validators)
    histories = []
    for url in chain.rpc_urls:
        with Chain(url, BFT) as endpoint:
            numbers = [[hex(number), False] for number in range(1, min(heights) + 1)]
            blocks = endpoint.request_many("eth_getBlockByNumber", numbers)
            histories.append([(block["hash"], block["stateRoot"]) for block in blocks])
    assert all(history == histories[0] for history in histories)


@pytest.mark.parametrize("lost_files", ["data", str(STATE_PATH)])
def test_two_validators_lost_one_recovered_by_the_page_chain_goes_on(
    chain: BftChain, tmp_path: Path, lost_files: str
) -> None:
    chain.wait_for_height(8)
    chain.kill(2, 3)
    stands_at = require_standing(chain, [0, 1])
    home = chain.validators[2].directory
    before = read_last_signed(home)
    assert before is not None
    gone = home / lost_files
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    recover_by_the_page(chain, 2, {"one.json": 0, "two.json": 1}, tmp_path)
    made = read_last_signed(home)
    assert made is not None
    assert LastSigned(stands_at + 1, 0, 1) <= made < LastSigned(stands_at + 2, 0, 0)
    chain.launch(2)
    chain.wait_for_height(stands_at + 5, ARRIVES_SECONDS, [0, 1, 2])
    # The other one comes back with its own disk.
    chain.restart(3)
    height = max(height for height in chain.heights() if height is not None)
    chain.wait_for_height(height + 3, ARRIVES_SECONDS)
    require_one_history(chain)


def test_validator_lost_while_the_others_go_on_signs_above_anything_it_signed(
    chain: BftChain, tmp_path: Path
) -> None:
    chain.wait_for_height(4)
    chain.kill(3)
    home = chain.validators[3].directory
    before = read_last_signed(home)
    shutil.rmtree(home / "data")
    recover_by_the_page(chain, 3, {"one.json": 0, "two.json": 1, "three.json": 2}, tmp_path)
    made = read_last_signed(home)
    assert before is not None
    assert made is not None
    assert made.height >= before.height + 100
    chain.restart(3)
    # It votes once the chain is there, and without it the chain stands: two of four are left.
    chain.wait_for_height(made.height + 1, ARRIVES_SECONDS)
    chain.kill(0)
    chain.wait_for_height(made.height + 4, ARRIVES_SECONDS, [1, 2, 3])
    chain.restart(0)
    chain.wait_for_height(made.height + 5, ARRIVES_SECONDS)
    require_one_history(chain)
