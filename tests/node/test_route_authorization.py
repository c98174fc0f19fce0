"""Every route, every kind of caller: who is admitted, and that everybody else gets 401 or 403.

A route without a row here fails the first test.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from node_fixtures import HOSPITAL, Member, Network, TestPatient, start_network

from crypto.recovery import backup_locator
from crypto.signer import AccountKey
from ledger import calls
from vocabulary import Role
from wire.signing import Caller, CallerKind, RequestKey, sign_request

ANYONE = frozenset({"nobody"})
STAFF = frozenset({"staff"})
PATIENT = frozenset({"patient"})
ANY_PSEUDONYM = frozenset({"patient", "other patient", "unregistered pseudonym"})
REGISTERED = frozenset({"patient", "other patient"})
BACKUP = frozenset({"backup"})
AUDITOR = frozenset({"auditor"})
PROVIDER = frozenset({"provider"})
CONSUMER = frozenset({"consumer"})
CUSTODIAN = frozenset({"custodian"})
MEMBER = frozenset({"provider", "consumer", "custodian", "auditor", "member without roles"})

ADMITTED: dict[tuple[str, str], frozenset[str]] = {
    ("GET", "/health"): ANYONE,
    ("GET", "/ready"): ANYONE,
    ("GET", "/ledger"): ANYONE,
    ("GET", "/members"): ANYONE,
    ("GET", "/patients/{patient}"): PATIENT,
    ("GET", "/patients/{patient}/records"): PATIENT,
    ("GET", "/patients/{patient}/consents"): PATIENT,
    ("GET", "/patients/{patient}/history"): PATIENT | AUDITOR,
    ("PUT", "/patients/{patient}/keyring"): PATIENT,
    ("GET", "/patients/{patient}/keyrings/{epoch}"): PATIENT | MEMBER,
    ("GET", "/patients/{patient}/records/{record_id}/own-copy"): PATIENT,
    ("POST", "/registrations"): ANY_PSEUDONYM,
    ("POST", "/relay"): REGISTERED,
    ("POST", "/grants"): REGISTERED,
    ("PUT", "/backups/{locator}"): BACKUP,
    ("GET", "/backups/{locator}"): BACKUP,
    ("POST", "/staff/registrations"): STAFF,
    ("GET", "/staff/patients"): STAFF,
    ("GET", "/staff/consents"): STAFF,
    ("GET", "/staff/history"): STAFF,
    ("GET", "/staff/status"): STAFF,
    ("GET", "/metrics"): STAFF,
    ("POST", "/audit/openings"): AUDITOR,
    ("PUT", "/blocks/{cid}"): PROVIDER,
    (
        "GET",
        "/blocks/{cid}",
    ): MEMBER,  # and patients, for blocks under their own records: this one is under none
    ("POST", "/custody/deposits"): PROVIDER,
    ("POST", "/custody/releases"): CONSUMER,
    ("POST", "/custody/lost-deposits"): CUSTODIAN,
    ("POST", "/staff/publications"): STAFF,
    ("GET", "/staff/publications/{publication_id}"): STAFF,
    ("GET", "/staff/records"): STAFF,
    ("POST", "/staff/records/{record_id}/correction"): STAFF,
    ("POST", "/staff/records/{record_id}/retraction"): STAFF,
    ("POST", "/staff/reads"): STAFF,
    ("POST", "/staff/files"): STAFF,
    ("PUT", "/staff/files/{upload_id}"): STAFF,
    ("GET", "/staff/downloads/{download_id}"): STAFF,
    ("GET", "/staff/downloads/{download_id}/outcome"): STAFF,
}
"""Who is admitted to each route; what the route then says of the made-up content is its own matter."""


@dataclass
class Callers:
    """A node and somebody of each kind who might call it."""

    network: Network
    node: Member
    patient: TestPatient
    backup: RequestKey
    keys: dict[str, RequestKey]
    paths: dict[str, str] = field(default_factory=dict)

    def path(self, template: str) -> str:
        values = {
            "patient": "0x" + self.patient.address.hex(),
            "epoch": "1",
            "record_id": "0x" + "11" * 32,
            "locator": "0x" + backup_locator(self.backup.caller.identifier).hex(),
            "cid": "bafkreigaknpexyvxt76zgkitavbwx6ejgfheup5oybpm77f3pxzrvwpfdi",
            "upload_id": "0" * 32,
            "download_id": "0" * 32,
            "publication_id": "00000000-0000-0000-0000-000000000000",
        }
        query = "?patient=" + values["patient"] if template == "/staff/history" else ""
        return template.format(**values) + query


@pytest.fixture(scope="module")
def callers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callers]:
    network = start_network(tmp_path_factory.mktemp("callers"), {"Seoul Hospital": HOSPITAL})
    node = network.members[0]
    patient, other = network.register(node), network.register(node)
    suspended = network.enrol_without_node("Suspended", (*HOSPITAL, Role.AUDITOR))
    network.administer(calls.set_member_active(suspended.caller.identifier, False))
    backup, other_backup = RequestKey.of_backup(b"\x01" * 32), RequestKey.of_backup(b"\x02" * 32)
    forger = AccountKey.generate()
    keys = {
        "patient": patient.key,
        "other patient": other.key,
        "unregistered pseudonym": RequestKey.of_patient(AccountKey.generate()),
        "provider": network.enrol_without_node("Provider", (Role.PROVIDER,)),
        "consumer": network.enrol_without_node("Consumer", (Role.CONSUMER,)),
        "custodian": network.enrol_without_node("Custodian", (Role.CUSTODIAN,)),
        "auditor": network.enrol_without_node("Auditor", (Role.AUDITOR,)),
        "member without roles": network.enrol_without_node("Nothing", ()),
        "suspended member": suspended,
        "never enrolled member": RequestKey.of_member(b"\x07" * 20, b"\x08" * 32),
        "backup": backup,
        "other backup": other_backup,
        "forged patient": RequestKey(Caller(CallerKind.PATIENT, patient.address), forger),
        "forged member": RequestKey(
            Caller(CallerKind.MEMBER, node.address),
            RequestKey.of_member(b"\x07" * 20, b"\x08" * 32).private_key,
        ),
        "forged backup": RequestKey(backup.caller, other_backup.private_key),
    }
    yield Callers(network, node, patient, backup, keys)
    network.stop()


def routes_of(node: Member) -> set[tuple[str, str]]:
    found = set()
    for router in node.node.routers():
        for route in router.routes:
            assert isinstance(route, APIRoute)
            found |= {(method, route.path) for method in route.methods}
    return found


def test_every_route_of_the_app_has_a_row(callers: Callers) -> None:
    assert len(callers.node.node.app.routes) == len(callers.node.node.routers())
    assert routes_of(callers.node) - set(ADMITTED) == set()


def test_no_row_is_left_of_a_route_that_is_gone(callers: Callers) -> None:
    assert set(ADMITTED) - routes_of(callers.node) == set()


@pytest.mark.parametrize("route", ADMITTED, ids=lambda route: " ".join(route))
def test_each_caller_is_admitted_or_refused_as_the_table_says(
    callers: Callers, route: tuple[str, str]
) -> None:
    method, template = route
    path, admitted = callers.path(template), ADMITTED[route]
    wrong_token = {"Authorization": "Bearer phr-staff-" + "A" * 43}
    statuses = {
        "nobody": callers.node.call(method, path).status_code,
        "wrong staff token": callers.node.call(method, path, headers=wrong_token).status_code,
        "staff": callers.node.call(method, path, staff=True).status_code,
    }
    for name, key in callers.keys.items():
        statuses[name] = callers.node.call(method, path, key=key).status_code
    if admitted == ANYONE:
        assert set(statuses.values()) == {200}
        return
    wrong = {
        name: status
        for name, status in statuses.items()
        if (status in (401, 403)) is (name in admitted) or status >= 500
    }
    assert wrong == {}


@pytest.mark.parametrize("route", ADMITTED, ids=lambda route: " ".join(route))
def test_replayed_misdirected_and_altered_requests_are_refused(
    callers: Callers, route: tuple[str, str]
) -> None:
    method, template = route
    path = callers.path(template)
    signing = sorted(ADMITTED[route] & set(callers.keys))
    if not signing:
        pytest.skip("nobody signs requests to this route")
    key, node = callers.keys[signing[0]], callers.node
    headers = sign_request(method, path, b"", node.address, key)
    assert node.call(method, path, headers=headers).status_code not in (401, 403)
    replayed = node.call(method, path, headers=headers)
    assert (replayed.status_code, replayed.json()["code"]) == (401, "replayed")
    assert node.call(method, path, key=key, destination=b"\x09" * 20).status_code == 401
    signed_for_other_path = sign_request(method, path + "x", b"", node.address, key)
    assert node.call(method, path, headers=signed_for_other_path).status_code == 401
    signed_for_other_method = sign_request("DELETE", path, b"", node.address, key)
    assert node.call(method, path, headers=signed_for_other_method).status_code == 401
    signed_for_other_body = sign_request(method, path, b"", node.address, key)
    assert node.call(method, path, b"{}", headers=signed_for_other_body).status_code == 401


def test_request_to_an_unknown_route_is_a_problem(callers: Callers) -> None:
    answer = callers.node.call("GET", "/nothing")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_directory_of_the_node_is_private(callers: Callers) -> None:
    for name in (".", "keystore", "passphrase", "staff-token", "node.toml"):
        path: Path = callers.node.directory / name
        assert path.stat().st_mode & 0o077 == 0
