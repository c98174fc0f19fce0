"""What an upload that failed leaves behind: its first cause is told, and tidying up takes nobody's time."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from files_flow import Noise, announce, note_counted, send
from node_fixtures import Network
from node_processes import wait_until
from records_flow import Case

from node import file_sealing
from node.database_errors import DatabaseUnavailable
from storage import StoreUnavailableError
from wire.staff import FileUpload

MIB = 2**20
CONTENT = b"".join(Noise(6 * MIB))
OTHER = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])


@pytest.fixture
def case(network: Network) -> Case:
    return Case.begin(network)


def upload_of(case: Case) -> str:
    upload_id = FileUpload.model_validate_json(announce(case, CONTENT).content).upload_id
    assert upload_id is not None
    return upload_id


@pytest.mark.parametrize(
    "error", [StoreUnavailableError("the store is down"), DatabaseUnavailable("the database is down")]
)
def test_send_of_other_bytes_while_the_store_is_down_tells_its_own_cause(case, monkeypatch, error):
    blocks = case.provider.node.records.blocks
    kept = set(blocks.store.cids())
    with monkeypatch.context() as down:

        def fail(_: object) -> None:
            raise error

        down.setattr(blocks, "drop_unneeded", fail)
        answer = send(case.provider, upload_of(case), OTHER)
    assert (answer.status_code, answer.json()["code"]) == (400, "digest-mismatch")
    assert set(blocks.store.cids()) > kept  # for the sweep


def test_send_of_other_bytes_to_a_slow_store_leaves_most_to_the_sweep(case, monkeypatch):
    blocks = case.provider.node.records.blocks
    kept = set(blocks.store.cids())
    with monkeypatch.context() as slow:
        slow.setattr(file_sealing, "CLOSE_SECONDS", -1.0)
        assert send(case.provider, upload_of(case), OTHER).status_code == 400
    assert set(blocks.store.cids()) > kept


@contextmanager
def sending_slowly(case: Case, upload_id: str) -> Iterator[None]:
    """An upload whose body has begun and does not go on."""
    host, port = case.provider.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(
            f"PUT /staff/files/{upload_id} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(CONTENT)}\r\n"
            f"Authorization: Bearer {case.provider.staff_token}\r\n\r\nx".encode()
        )
        yield


def test_attack_uploads_of_one_person_that_do_not_go_on_leave_turns_to_others(case, monkeypatch):
    upload_id = upload_of(case)
    counted = note_counted(monkeypatch)
    with sending_slowly(case, upload_id), sending_slowly(case, upload_id):
        wait_until(lambda: len(counted) == 2, "two uploads are under way")
        refused = send(case.provider, upload_id, CONTENT)
        assert (refused.status_code, refused.json()["code"]) == (429, "busy")
        token = case.provider.node.staff.add(f"clerk-{case.number}", "clerk")
        assert send(replace(case.provider, staff_token=token), upload_id, CONTENT).status_code == 404
    wait_until(lambda: send(case.provider, upload_id, CONTENT).status_code == 200, "the person's turn came")
