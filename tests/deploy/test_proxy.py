"""The proxies' border: which routes the outside reaches, with which limits; and nginx itself before a real node."""

import datetime
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from node_fixtures import Member, Network

from crypto.recovery import backup_locator
from ledger.ports import free_ports
from node.lanes import Lane, Ticket
from wire.limits import BACKUP_BYTES, BLOCK_BYTES, DEPOSIT_BYTES, GRANT_BYTES, JSON_BYTES, KEYRING_BYTES
from wire.signing import RequestKey, sign_request

PROJECT = Path(__file__).parents[2]
PROXY = PROJECT / "deploy" / "proxy"
ROUTES = sorted(json.loads((PROJECT / "docs" / "openapi.json").read_text())["paths"])
INSIDE = ("/staff/", "/metrics")
_GLOBAL = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
"""As root its workers would be another user, who may not enter a test's directory."""
LIMITS_BYTES = {
    "/blocks/": BLOCK_BYTES,
    "/custody/": DEPOSIT_BYTES,
    "/backups/": BACKUP_BYTES,
    "/grants": GRANT_BYTES * 4 // 3,
    "/registrations": JSON_BYTES,
    "/relay": JSON_BYTES,
    "/patients/": KEYRING_BYTES,
    "/audit/": JSON_BYTES,
}
"""What the node takes at most, by the beginning of the path: the proxy must not be stricter, nor much more generous."""


@dataclass(frozen=True)
class Location:
    """One ``location`` of nginx.conf."""

    kind: str
    pattern: str
    body: str

    def takes(self, path: str) -> bool:
        if self.kind == "=":
            return path == self.pattern
        return bool(re.search(self.pattern, path)) if self.kind == "~" else path.startswith(self.pattern)

    @property
    def limit_bytes(self) -> int:
        [(size, unit)] = re.findall(r"client_max_body_size (\d+)([km]);", self.body)
        return int(size) * {"k": 1024, "m": 1024**2}[unit]


def _servers() -> list[list[Location]]:
    text = re.sub(r"#.*", "", (PROXY / "nginx.conf").read_text())
    servers = text.split("    server {\n")[1:]
    found = [re.findall(r"location (=|~)? ?(\S+) (\{(?:[^{}]|\{[^{}]*\})*\})", server) for server in servers]
    return [[Location(*parts) for parts in locations] for locations in found]


def _nginx_location(server: list[Location], path: str) -> Location:
    """nginx's own order: exact, then regular expressions, then the longest prefix."""
    taking = [location for location in server if location.takes(path)]
    by_kind = {kind: [one for one in taking if one.kind == kind] for kind in ("=", "~", "")}
    return (by_kind["="] or by_kind["~"] or sorted(by_kind[""], key=lambda one: -len(one.pattern)))[0]


def _caddy_paths() -> tuple[list[str], list[str]]:
    outside, inside, _chain = (PROXY / "Caddyfile").read_text().split("\nhttps://")
    paths = [re.findall(r"@\w+ path (.+)", part) for part in (outside, inside)]
    return tuple([word for line in lines for word in line.split()] for lines in paths)  # type: ignore[return-value]


@pytest.mark.parametrize("route", ROUTES)
def test_proxies_show_each_route_to_the_side_that_needs_it_and_to_no_other(route: str) -> None:
    outside, inside, chain = _servers()
    assert "proxy_pass" not in _nginx_location(chain, route).body
    caddy_outside, caddy_inside = _caddy_paths()

    def caddy(patterns: list[str]) -> bool:
        return any(route.startswith(p[:-1]) if p.endswith("*") else route == p for p in patterns)

    is_inside = route.startswith(INSIDE)
    assert ("proxy_pass" in _nginx_location(outside, route).body) == caddy(caddy_outside) == (not is_inside)
    if is_inside:
        assert "proxy_pass" in _nginx_location(inside, route).body
        assert caddy(caddy_inside)


@pytest.mark.parametrize("path", LIMITS_BYTES)
def test_proxy_takes_the_largest_body_that_the_node_takes_and_not_twice_it(path: str) -> None:
    limit = _nginx_location(_servers()[0], path).limit_bytes
    assert LIMITS_BYTES[path] <= limit <= max(2 * LIMITS_BYTES[path], JSON_BYTES)


def test_routes_that_are_open_to_anyone_with_a_key_have_the_strictest_rate() -> None:
    outside = _servers()[0]
    for path in ("/registrations", "/backups/"):
        assert "zone=open" in _nginx_location(outside, path).body
    for location in outside:
        assert ("proxy_pass" in location.body) == ("limit_req zone=" in location.body)


@dataclass(frozen=True)
class Nginx:
    """nginx on this machine, before one node."""

    node: Member
    outside: str
    inside: str
    rpc: str
    log: Path
    client: httpx.Client


@pytest.fixture(scope="module")
def nginx(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    program = shutil.which("nginx")
    if program is None:
        pytest.skip("nginx is not on this machine")
    place = tmp_path_factory.mktemp("nginx")
    _write_certificate(place)
    outside, inside, rpc, unused = free_ports(4)
    text = (PROXY / "nginx.conf").read_text()
    changes = {
        "/etc/phr-proxy": str(place),
        "/tmp/": f"{place}/",
        "/dev/stdout": f"{place}/access.log",
        "/dev/stderr": f"{place}/error.log",
        "listen 8443 ssl": f"listen 127.0.0.1:{outside} ssl",
        "listen 8444 ssl": f"listen 127.0.0.1:{inside} ssl",
        "listen 8546 ssl": f"listen 127.0.0.1:{rpc} ssl",
        "listen 443 ssl": f"listen 127.0.0.1:{unused} ssl",
        "allow 192.0.2.11": "allow 127.0.0.1",
        "127.0.0.1:8080": f"127.0.0.1:{network.members[0].node.port}",
        "127.0.0.1:8545": urlsplit(network.anvil.url).netloc,
    }
    for before in changes:
        assert before in text
    text = re.sub("|".join(map(re.escape, changes)), lambda found: changes[found[0]], text)
    (place / "nginx.conf").write_text(text)
    process = subprocess.Popen(
        [program, "-p", str(place), "-c", str(place / "nginx.conf"), "-g", _GLOBAL],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    client = httpx.Client(verify=False, trust_env=False, timeout=30)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                client.get(f"https://127.0.0.1:{inside}/health")
                break
            except httpx.TransportError:
                assert process.poll() is None, "nginx ended"
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield Nginx(
            network.members[0],
            f"https://127.0.0.1:{outside}",
            f"https://127.0.0.1:{inside}",
            f"https://127.0.0.1:{rpc}",
            place / "access.log",
            client,
        )
    finally:
        process.terminate()
        process.wait(60)
        client.close()


def _write_certificate(place: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "seoul.example")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (place / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (place / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def test_signed_request_holds_behind_nginx(network: Network, nginx: Nginx) -> None:
    node = nginx.node
    patient = network.register(node)
    # A query and characters that a careless proxy would rewrite before the signature is checked.
    path = f"{patient.path}/history?from_sequence=1"
    signed = sign_request("GET", path, b"", node.address, patient.key)
    answer = nginx.client.get(nginx.outside + path, headers=signed)
    assert answer.status_code == 200, answer.text
    stolen = nginx.client.get(nginx.outside + patient.path, headers=signed)
    assert stolen.status_code == 401


def test_staff_and_metrics_are_reached_inside_only(nginx: Nginx) -> None:
    headers = {"Authorization": f"Bearer {nginx.node.staff_token}"}
    for path in ("/staff/status", "/metrics"):
        assert nginx.client.get(nginx.inside + path, headers=headers).status_code == 200
        assert nginx.client.get(nginx.outside + path, headers=headers).status_code == 404
    assert nginx.client.get(nginx.outside + "/staff/%2e%2e/staff/status", headers=headers).status_code == 404


def test_chain_answers_members_through_nginx_at_one_path_only(network: Network, nginx: Nginx) -> None:
    asked = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    answer = nginx.client.post(nginx.rpc, json=asked)
    assert int(answer.json()["result"], 16) == network.deployment.chain_id
    assert nginx.client.get(nginx.rpc).status_code == 403
    assert nginx.client.post(nginx.rpc + "/elsewhere", json=asked).status_code == 404
    assert nginx.client.post(nginx.outside, json=asked).status_code == 404


def test_address_that_a_client_claims_is_overwritten_for_the_node(
    nginx: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, enter = [], Lane.enter

    def noting(lane: Lane, address: str) -> Ticket:
        seen.append(address)
        return enter(lane, address)

    monkeypatch.setattr(Lane, "enter", noting)
    claimed = {"X-Forwarded-For": "203.0.113.9"}
    assert nginx.client.get(nginx.outside + "/ledger", headers=claimed).status_code == 200
    assert "127.0.0.1" in seen
    assert "203.0.113.9" not in seen
    # Of its own machine the node believes it: else everybody behind the proxy would be one address.
    assert nginx.client.get(nginx.node.url + "/ledger", headers=claimed).status_code == 200
    assert "203.0.113.9" in seen


def test_too_large_body_is_refused_before_the_node_sees_it(nginx: Nginx) -> None:
    answer = nginx.client.post(nginx.outside + "/relay", content=bytes(1024**2 + 1))
    assert answer.status_code == 413
    assert "phr-request-id" not in answer.headers


def test_largest_backup_passes_and_one_address_that_stores_without_end_is_slowed(nginx: Nginx) -> None:
    key = RequestKey.of_backup(b"\x07" * 32)
    path = f"/backups/0x{backup_locator(key.caller.identifier).hex()}"
    whole = bytes(BACKUP_BYTES)
    answer = nginx.client.put(
        nginx.outside + path, content=whole, headers=sign_request("PUT", path, whole, nginx.node.address, key)
    )
    assert "phr-request-id" in answer.headers, "the node itself answered"
    # Two a second and twenty more are let through: many at once, so that a slow machine is not slow enough.
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: nginx.client.get(nginx.outside + path).status_code, range(160)))
    assert 429 in found


def test_nginx_logs_no_path_and_no_header(network: Network, nginx: Nginx) -> None:
    node = nginx.node
    patient = network.register(node)
    signed = sign_request("GET", patient.path, b"", node.address, patient.key)
    assert nginx.client.get(nginx.outside + patient.path, headers=signed).status_code == 200
    deadline = time.monotonic() + 60
    while "GET 200" not in nginx.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    text = nginx.log.read_text()
    assert "GET 200" in text
    assert patient.address.hex() not in text.lower()
    assert "/patients" not in text
