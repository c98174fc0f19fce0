"""Bodies beyond their limits, malformed bodies, and what the log and the metrics say of requests."""

import io
import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from node_fixtures import Member, Network, TestPatient
from node_processes import wait_until
from records_flow import Case, bundle, condition, observation

from ledger.messages import DenyPolicy
from node import lingering
from node.logs import configure_logs
from wire.limits import JSON_BYTES
from wire.problem import Problem
from wire.signing import sign_request


@pytest.fixture(scope="module")
def patient(network: Network) -> TestPatient:
    return network.register(network.members[0])


@contextmanager
def captured_logs() -> Iterator[io.StringIO]:
    stream, before = io.StringIO(), structlog.get_config()
    configure_logs(stream)
    try:
        yield stream
    finally:
        structlog.configure(**before)


def raw_exchange(node: Member, request: bytes) -> tuple[int, Problem]:
    """Sends bytes as they are and reads the answer until the server ends the connection."""
    with socket.create_connection(("127.0.0.1", node.node.port), timeout=60) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), Problem.model_validate_json(body)


def head(node: Member, path: str, headers: dict[str, str], **more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: node", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in (headers | more).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def test_announced_size_beyond_the_limit_is_refused_before_any_byte_of_it(
    network: Network, patient: TestPatient
) -> None:
    node = network.members[0]
    headers = sign_request("POST", "/relay", b"", node.address, patient.key)
    status, problem = raw_exchange(node, head(node, "/relay", headers, Content_Length=str(JSON_BYTES + 1)))
    assert (status, problem.code) == (413, "too-large")


def test_sender_of_a_far_too_large_body_sees_the_refusal_and_no_broken_connection(
    network: Network, patient: TestPatient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # This sender pauses only where the machine is busy.
    monkeypatch.setattr(lingering, "LINGER_SECONDS", 60.0)
    monkeypatch.setattr(lingering, "LINGER_IDLE_SECONDS", 60.0)
    node = network.members[0]
    huge = bytes(20 * 1024 * 1024)
    assert node.call("POST", "/relay", huge, key=patient.key).status_code == 413
    assert node.call("POST", "/relay", huge).status_code == 401
    wrong = {"Authorization": "Bearer phr-staff-" + "A" * 43}
    assert node.call("POST", "/staff/registrations", huge, headers=wrong).status_code == 401


def test_chunked_body_beyond_the_limit_is_refused_while_it_comes(
    network: Network, patient: TestPatient
) -> None:
    """The size was not announced, and the end never comes: the answer does not wait for it."""
    node = network.members[0]
    headers = sign_request("POST", "/relay", b"", node.address, patient.key)
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    endless = head(node, "/relay", headers, Transfer_Encoding="chunked") + chunk * 5
    status, problem = raw_exchange(node, endless)
    assert (status, problem.code) == (413, "too-large")


def test_big_body_of_a_stranger_is_refused_unread(network: Network) -> None:
    node = network.members[0]
    status, problem = raw_exchange(node, head(node, "/relay", {}, Content_Length=str(JSON_BYTES)))
    assert (status, problem.code) == (401, "unauthenticated")
    token = {"Authorization": "Bearer phr-staff-" + "A" * 43}
    status, _ = raw_exchange(node, head(node, "/staff/registrations", token, Content_Length=str(JSON_BYTES)))
    assert status == 401


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"messages":[]}', b"\xff", b'{"a":' * 5000 + b"1"])
def test_malformed_body_is_refused_without_being_echoed(
    network: Network, patient: TestPatient, body: bytes
) -> None:
    answer = network.members[0].call("POST", "/relay", body, key=patient.key)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")


def test_fault_in_a_message_is_named_and_its_content_is_not_repeated(
    network: Network, patient: TestPatient
) -> None:
    body = {"code": "1234-5678", "identifiers": [{"system": "urn:a", "value": "", "name": "Hong Gil-dong"}]}
    answer = network.members[0].call("POST", "/staff/registrations", json.dumps(body).encode(), staff=True)
    assert answer.status_code == 400
    assert "identifiers.0.value" in answer.json()["detail"]
    assert "Hong" not in answer.text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=300)
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_no_body_makes_a_route_fail_unforeseen(network: Network, patient: TestPatient, body: bytes) -> None:
    node = network.members[0]
    for path in ("/relay", "/grants", "/registrations"):
        assert node.call("POST", path, body, key=patient.key).status_code in (400, 403, 409)
    for path in ("/staff/registrations",):
        assert node.call("POST", path, body, staff=True).status_code == 400


def test_log_of_a_whole_flow_holds_no_personal_data(network: Network) -> None:
    node, reader = network.members[0], network.members[1]
    with captured_logs() as stream:
        case = Case.begin(network)
        patient = case.patient
        publication = case.publish(observation(5.4), condition("Asthma"))
        case.grant(reader)
        assert case.read(reader).records[0].content is not None
        network.relay(node, patient, DenyPolicy(patient.address, 1, 1, 1))
        node.call("GET", "/staff/patients", staff=True, about=case.about)
        node.call("GET", patient.path + "/history", key=patient.key)
        node.call("GET", patient.path + "/history", key=network.register(node).key)
        node.call("POST", "/relay", b"{", key=patient.key)
        node.call("GET", "/staff/status", headers={"Authorization": "Bearer phr-staff-" + "B" * 43})
        node.call("GET", "/" + patient.address.hex())
        case.post_bundle(bundle("MRN-of-another", observation(5.4)))
    text = stream.getvalue()
    requests = [line for line in map(json.loads, text.splitlines()) if line["event"] == "request"]
    assert len(requests) >= 15
    for line in requests:
        assert {"request_id", "method", "route", "status", "milliseconds", "caller", "problem"} <= set(line)
    personal = (
        *(patient.address.hex(), case.number, "MRN-of-another", "Hwang", "Jini", "Asthma", "4548-4"),
        *(record.record_id.hex() for record in publication.records),
        *(node.staff_token, "B" * 43, patient.keyring.public().digest.hex(), "node-administrator"),
    )
    assert [secret for secret in personal if secret.lower() in text.lower()] == []
    routes = {line["route"] for line in requests}
    assert {"/patients/{patient}/history", "/staff/registrations", "/custody/releases", "unknown"} <= routes
    assert {line["caller"] for line in requests} == {"patient", "staff", "member", "none"}


def test_metrics_count_deposits_and_releases(network: Network) -> None:
    provider, reader, custodian = network.members
    case = Case.begin(network, provider)
    case.publish()
    case.grant(reader)
    case.provider.node.records.steps.repair()

    def both_are_counted() -> bool:
        # Two of three shares are enough: the slowest custodian's release may come to nothing.
        case.read(reader)
        text = custodian.call("GET", "/metrics", staff=True).text
        assert float(re.findall(r"^phr_deposits_total (\S+)", text, re.MULTILINE)[0]) >= 1
        return bool(re.search(r'^phr_releases_total\{outcome="released"\} [1-9]', text, re.MULTILINE))

    wait_until(both_are_counted, "a deposit and a release are counted")


def test_answer_carries_the_id_under_which_it_is_logged(network: Network) -> None:
    with captured_logs() as stream:
        answer = network.members[0].call("GET", "/health")
        # The line is written once the answer is out.
        wait_until(lambda: answer.headers["phr-request-id"] in stream.getvalue(), "the request is logged")
    logged = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert answer.headers["phr-request-id"] in [line.get("request_id") for line in logged]


def test_metrics_count_requests_and_refusals_by_route_and_name_no_one(
    network: Network, patient: TestPatient
) -> None:
    node = network.members[0]
    node.call("GET", patient.path, key=patient.key)
    node.call("GET", patient.path)
    node.http.request("BREW", node.url + "/coffee-of-" + patient.address.hex())
    text = node.call("GET", "/metrics", staff=True).text
    assert 'phr_http_requests_total{method="GET",route="/patients/{patient}",status="200"}' in text
    assert 'phr_refusals_total{code="unauthenticated"}' in text
    assert "phr_final_block" in text
    assert patient.address.hex() not in text
    assert "BREW" not in text


def test_unforeseen_error_tells_the_caller_nothing_of_its_inside(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = network.members[1]

    def fail() -> None:
        raise RuntimeError("the patient's name is Hong Gil-dong")

    monkeypatch.setattr(node.node.grants, "consented", fail)
    with captured_logs() as stream:
        answer = node.call("GET", "/staff/consents", staff=True)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal-error")
    assert "Hong" not in answer.text + stream.getvalue()
    assert '"kind": "RuntimeError"' in stream.getvalue()
