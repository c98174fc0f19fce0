"""The unit files: what systemd itself says of them, and that they fit the programs that they start."""

import json
import re
import shutil
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from cli.exit_codes import ExitCode
from cli.main import app
from engines.kubo import KuboDaemon
from engines.processes import Background

SYSTEMD = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS = sorted(SYSTEMD.glob("*.service"))
EXPOSURE_TENTHS = 20
"""Of 100, as ``systemd-analyze security`` counts it: below 20 it says OK."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine"
)


def _read(unit: Path) -> RawConfigParser:
    parser = RawConfigParser(strict=False, delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(unit)
    return parser


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_unit_is_accepted_by_systemd_without_a_complaint(unit: Path, tmp_path: Path) -> None:
    # Systemd looks for the program, which is not installed here.
    copy = tmp_path / unit.name
    copy.write_text(re.sub(r"^ExecStart=/\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.MULTILINE))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=240
    )
    # What else is installed on this machine may have faults of its own.
    complaints = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, complaints) == (0, [])


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_unit_is_exposed_no_more_than_its_work_needs(unit: Path) -> None:
    done = subprocess.run(
        [
            "systemd-analyze",
            "security",
            "--offline=true",
            "--no-pager",
            f"--threshold={EXPOSURE_TENTHS}",
            str(unit),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-300:]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_unit_writes_only_in_the_directory_that_its_program_is_given(unit: Path) -> None:
    service = _read(unit)["Service"]
    place = f"/var/lib/{service['StateDirectory']}"
    assert service["ReadWritePaths"] == place
    assert service["ProtectSystem"] == "strict"
    assert service["NoNewPrivileges"] == "yes"
    assert service["User"] == service["Group"] == service["StateDirectory"] == unit.stem
    assert int(service["LimitNOFILE"]) >= 16384
    assert place in unit.read_text().split("ExecStart=")[1] or f"IPFS_PATH={place}" in unit.read_text()
    users = (SYSTEMD / "phr.sysusers.conf").read_text()
    assert re.search(rf"^u {unit.stem}\s", users, re.MULTILINE), "sysusers makes the unit's account"


def test_node_unit_starts_a_command_that_exists_and_rests_where_starting_again_cannot_help() -> None:
    service = _read(SYSTEMD / "phr-node.service")["Service"]
    program, *words = service["ExecStart"].split()
    assert Path(program).name == "phr"
    assert words[:2] == ["node", "run"]
    groups = {group.name: group.typer_instance for group in app.registered_groups}
    assert "run" in {
        (command.name or command.callback.__name__) for command in groups["node"].registered_commands
    }  # type: ignore[union-attr]
    useless = {ExitCode.USAGE, ExitCode.BAD_INPUT, ExitCode.DIVERGED, ExitCode.LOCKED}
    assert {int(code) for code in service["RestartPreventExitStatus"].split()} == {int(c) for c in useless}


def test_kubo_runs_in_unit_and_container_as_where_it_is_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The switches and the environment that the private swarm's tests prove are those of production."""

    class Started(Exception):
        pass

    seen: dict[str, object] = {}

    def start(_: Background, command: list[str], environment: dict[str, str]) -> None:
        seen.update(command=command[1:], environment=environment)
        raise Started

    monkeypatch.setattr(Background, "start", start)
    monkeypatch.setattr(KuboDaemon, "answers", lambda _: False)
    with pytest.raises(Started):
        KuboDaemon(tmp_path, Path("ipfs")).start()
    text = (SYSTEMD / "phr-ipfs.service").read_text()
    [words] = re.findall(r"^ExecStart=\S+/ipfs (.*)$", text, re.MULTILINE)
    assert words.split() == seen["command"]
    container = (SYSTEMD.parent / "containers" / "ipfs.Containerfile").read_text()
    assert json.loads(container.split("\nCMD ")[1].splitlines()[0]) == seen["command"]
    environment = seen["environment"]
    assert isinstance(environment, dict)
    for name, value in environment.items():
        if name not in ("PATH", "HOME", "IPFS_PATH"):
            assert f"Environment={name}={value}\n" in text
            assert f" {name}={value}" in container
    assert environment["IPFS_PATH"].endswith("/repository")
    assert "IPFS_PATH=/var/lib/phr-ipfs/repository" in text
    assert "IPFS_PATH=/var/lib/phr-ipfs/repository" in container


def test_validator_that_failed_is_started_again_without_limit_and_one_that_halted_is_not() -> None:
    unit = _read(SYSTEMD / "phr-chain.service")
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
    assert "StartLimitBurst" not in unit["Unit"]
    assert unit["Service"]["Restart"] == "on-failure"
