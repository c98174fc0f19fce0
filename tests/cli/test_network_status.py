"""What `phr network status` shows and how it ends: a line a part, "?" for the unknown, a cause once, an exit code."""

import io
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from phr_commands import run_phr

from cli.exit_codes import ExitCode
from cli.network_parts import Kind
from cli.network_status import KEYS_ONLY, NOT_READY, READY, STOPPED, SUSPENDED, PartStatus
from cli.output import table
from cli.places import MemberPlace, NetworkPlace, describe_network
from cli.status_table import LEFT_OUT_FIRST, NEVER_FOLDED, columns, failure, notes, row

AWAY = "this node's database does not answer (OperationalError): ask again shortly"
HOSPITALS = ("Seoul Hospital", "Busan Hospital", "Hanok Clinic")


def whole_network(state: str = READY, block: int = 123_456, **of_nodes: Any) -> list[PartStatus]:
    """The parts of a network as `phr network up --engine bft --storage kubo --database postgres` makes it."""
    stores = [
        PartStatus(f"{n} Kubo", Kind.STORE, READY, "http://127.0.0.1:30806", 12345, 2**26, peers=2)
        for n in HOSPITALS
    ]
    validators = [
        PartStatus(
            f"{name} validator",
            Kind.VALIDATOR,
            READY,
            "http://127.0.0.1:17330",
            12345,
            2**27,
            block,
            1.0,
            0,
            3,
            10,
        )
        for name in (*HOSPITALS, "Health Data Authority")
    ]
    nodes = [
        PartStatus(n, Kind.NODE, state, "http://127.0.0.1:25383", 12345, 2**27, **of_nodes) for n in HOSPITALS
    ]
    return [
        PartStatus("PostgreSQL", Kind.DATABASE, READY, "/var/lib/phr/postgres-rbfc0jbe/socket", 12345, 2**26),
        *(*stores, *validators, *nodes),
        PartStatus("Health Data Authority", Kind.KEYS, KEYS_ONLY, ""),
    ]


def shown_at(terminal_columns: int, parts: list[PartStatus], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    out = io.StringIO()
    monkeypatch.setenv("COLUMNS", str(terminal_columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(out, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout", out)
    rows = [row(part) for part in parts]
    table(columns(), rows, empty="", left_out_first=LEFT_OUT_FIRST, never_folded=NEVER_FOLDED)
    return re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(
    ("terminal_columns", "block", "folded"),
    # At 80 columns the longest name goes on in a second line.
    [(80, 123_456, 1), (100, 12_345_678, 0), (160, 12_345_678, 0)],
)
def test_status_of_a_whole_network_is_a_line_a_part_and_keeps_every_endpoint(
    monkeypatch: pytest.MonkeyPatch, terminal_columns: int, block: int, folded: int, told: bool
) -> None:
    facts = {"final_block": block, "lag_blocks": 0, "peers": 2, "under_replicated": 0} if told else {}
    parts = whole_network(block=block, **facts)
    lines = shown_at(terminal_columns, parts, monkeypatch)
    assert max(map(len, lines)) <= terminal_columns
    below = lines[next(i for i, line in enumerate(lines) if "─" in line) + 1 :]
    assert len(below) == len(parts) + folded, lines
    names = [part.name for part in parts if folded == 0 or part.name != "Health Data Authority validator"]
    assert all(any(line.startswith(name) for line in below) for name in names)
    endpoints = [part.endpoint for part in parts if part.endpoint.startswith("http")]
    assert [word for line in below for word in line.split() if word.startswith("http")] == endpoints
    head = " ".join(lines[:2])
    assert all(word in head for word in ("state", "final", "block", "heal"))


def test_status_of_nodes_that_tell_nothing_shows_the_same_columns_with_question_marks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = shown_at(100, whole_network(NOT_READY, note=AWAY), monkeypatch)
    node = next(line for line in lines if line.startswith("Seoul Hospital ") and "25383" in line)
    assert node.split()[-4:] == ["?", "?", "?", "?"]
    database = next(line for line in lines if line.startswith("PostgreSQL"))
    assert "?" not in database


def test_notes_say_each_cause_once_with_the_names_of_all_that_have_it() -> None:
    parts = [*whole_network(NOT_READY, note=AWAY), PartStatus("x", Kind.CHAIN, READY, "", note="catching up")]
    assert notes(parts) == [f"Seoul Hospital, Busan Hospital, Hanok Clinic: {AWAY}", "x: catching up"]


def test_notes_of_several_causes_group_by_cause_and_not_by_its_age() -> None:
    def halted(name: str, seconds: int, *more: str) -> PartStatus:
        causes = (f"the final head has not advanced for {seconds} s: look at the chain", *more)
        return PartStatus(name, Kind.NODE, NOT_READY, "", note="; ".join(causes), causes=causes)

    assert notes([halted("One", 67), halted("Two", 68, AWAY)]) == [
        "One, Two: the final head has not advanced for 67 s: look at the chain",
        f"Two: {AWAY}",
    ]


def test_failure_names_what_does_not_work_and_not_what_somebody_decided() -> None:
    parts = whole_network(SUSPENDED)
    assert failure(parts, Path("net")) == ""
    assert failure([], Path("net")) == ""
    parts[0] = PartStatus("PostgreSQL", Kind.DATABASE, STOPPED, "/socket")
    assert failure(parts, Path("net")) == "1 of 11 parts do not work: PostgreSQL"
    down = [PartStatus(p.name, p.kind, p.state if p.kind == Kind.KEYS else STOPPED, "") for p in parts]
    assert failure(down, Path("net")) == "nothing of this network runs: `phr network up net` starts it"


@pytest.fixture
def node() -> Iterator[tuple[str, dict[str, Any]]]:
    """The endpoint of a node that a supervisor runs, and what it answers to everybody; to staff it answers nothing."""
    readiness: dict[str, Any] = {"ready": True, "problems": []}

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps(readiness).encode()
            self.send_response(200 if self.path == "/ready" else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", readiness
        finally:
            server.shutdown()
            thread.join()


def joined(directory: Path, *endpoints: str) -> Path:
    """The directory of `phr network join`, with nodes that `phr network up` does not start."""
    members = tuple(
        MemberPlace(f"Member {n}", directory / str(n), at, True) for n, at in enumerate(endpoints)
    )
    place = NetworkPlace(directory, "bft", ("http://127.0.0.1:1",), members, keeps_chain=False)
    (directory / "network.json").write_text(json.dumps(describe_network(place)))
    return directory


def test_status_of_a_node_that_a_supervisor_runs_is_ready_and_ends_with_0(
    tmp_path: Path, node: tuple[str, dict[str, Any]]
) -> None:
    done = run_phr("network", "status", joined(tmp_path, node[0]), "--json")
    assert done.exit_code == ExitCode.DONE, done
    assert [(part["state"], part["pid"]) for part in done.document["parts"]] == [("ready", None)]
    assert run_phr("network", "status", joined(tmp_path), "--json").exit_code == ExitCode.DONE


def test_status_of_a_node_that_is_not_ready_ends_with_5_and_still_shows_all(
    tmp_path: Path, node: tuple[str, dict[str, Any]]
) -> None:
    node[1].update(ready=False, problems=[AWAY])
    directory = joined(tmp_path, node[0], "http://127.0.0.1:1")
    done = run_phr("network", "status", directory, "--json")
    assert done.exit_code == ExitCode.UNREACHABLE
    assert [part["state"] for part in done.document["parts"]] == ["not ready", "stopped"]
    assert done.document["parts"][0]["note"] == AWAY
    shown = run_phr("network", "status", directory)
    assert shown.exit_code == ExitCode.UNREACHABLE
    assert shown.line == "2 of 2 parts do not work: Member 0, Member 1"
    assert f"Member 0: {AWAY}" in shown.out.splitlines()
    assert node[0] in shown.out


def test_status_of_a_network_that_is_down_ends_with_5_and_says_how_to_start_it(tmp_path: Path) -> None:
    done = run_phr("network", "status", joined(tmp_path, "http://127.0.0.1:1"))
    assert done.exit_code == ExitCode.UNREACHABLE
    assert f"`phr network up {tmp_path}` starts it" in done.line
