"""What strangers, logs and other accounts of a machine may not learn."""

import contextlib
import json
import logging
import socket
import stat

import httpx
import pytest
from database_fixtures import on_postgres
from fastapi import APIRouter
from node_fixtures import Network
from records_flow import Case

from crypto.recovery import RecoveryPhrase
from crypto.vault import seal_backup
from ledger.chain import Chain
from ledger.engine import ENGINES
from ledger.errors import ChainUnreachable
from node.app import create_app
from node.listener import Listener
from node.metrics import Metrics
from storage import Cid
from wire.signing import RequestKey, sign_request


def test_attack_error_that_speaks_of_a_patient_reaches_neither_the_answer_nor_any_log(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    routes = APIRouter()

    @routes.get("/fails")
    def fails() -> None:
        raise ValueError("Hwang-Sensitive, born 1970")

    listener = Listener(create_app([routes], Metrics()), "127.0.0.1", 0)
    with contextlib.ExitStack() as ending:
        ending.callback(listener.stop)
        listener.start()
        caplog.set_level(logging.DEBUG)
        with httpx.Client(trust_env=False, base_url=f"http://127.0.0.1:{listener.port}") as http:
            answers = [http.get("/fails") for _ in range(2)]
    assert [answer.json()["code"] for answer in answers] == ["internal-error"] * 2
    written = capfd.readouterr()
    for text in (answers[0].text, caplog.text, written.out, written.err):
        assert "Hwang" not in text
    assert "ValueError" in written.out + written.err


@pytest.mark.parametrize(
    "url",
    [
        "http://operator:hunter2@127.0.0.1:9/",
        "http://127.0.0.1:9/v3/hunter2",
        "http://127.0.0.1:9/?key=hunter2",
    ],
)
def test_attack_chain_that_is_away_does_not_make_a_node_tell_the_key_in_its_url(url: str) -> None:
    with Chain(url, ENGINES["anvil"]) as chain, pytest.raises(ChainUnreachable) as refused:
        chain.final_block()
    assert "hunter2" not in str(refused.value)
    assert "http://127.0.0.1:9 " in str(refused.value)


def test_attack_other_accounts_of_the_machine_can_read_no_file_of_a_node(network: Network) -> None:
    Case.begin(network)
    directory = network.members[0].directory
    private = {"keystore", "passphrase", "staff-token", "node.toml"}
    if not on_postgres():
        private |= {"node.db", "node.db-wal", "node.db-shm"}
    for name in private:
        assert stat.S_IMODE((directory / name).stat().st_mode) == 0o600, name


def test_attack_numbers_beyond_what_is_kept_are_refused_and_break_nothing(network: Network) -> None:
    node, keys = network.members[0], RecoveryPhrase.generate().backup_keys()
    answer = node.call(
        "PUT",
        f"/backups/0x{keys.locator.hex()}",
        seal_backup(b"x", keys, 2**64 - 1),
        key=RequestKey.of_backup(keys.signing_seed),
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")
    blob = dict.fromkeys(("header", "owner_wrap", "consent_wrap", "custody_wrap"), "")
    for deadline in (-1, 2**63, 2**64):
        deposit = blob | {"share_index": 1, "deadline": deadline, "signature": "0x" + "00" * 65}
        body = json.dumps({"deposits": [deposit]}).encode()
        answer = node.call(
            "POST", "/custody/deposits", body, key=network.members[1].node.identity.request_key
        )
        assert (answer.status_code, "deadline" in answer.json()["detail"]) == (400, True)


@pytest.mark.parametrize("tail", ["#x", "#", "%23x"])
def test_attack_path_lengthened_by_a_fragment_after_signing_is_refused(network: Network, tail: str) -> None:
    node = network.members[0]
    path = f"/blocks/{Cid.of(b'any')}"
    headers = sign_request("GET", path, b"", node.address, network.members[1].node.identity.request_key)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    host, port = node.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(
            f"GET {path}{tail} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n".encode()
        )
        answer = connection.makefile("rb").read()
    assert b" 401 " in answer.splitlines()[0]
