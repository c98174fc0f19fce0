"""A private swarm is private: whom its daemons talk to, who may connect, and what the RPC opens."""

import re
import shutil
import stat
import subprocess
import sys
from ipaddress import IPv6Address, ip_address
from pathlib import Path

import httpx
import psutil
import pytest
from kubo_fixtures import new_swarm, store_of
from node_processes import wait_until

from engines import EngineFailed
from engines.kubo import KuboDaemon, create_repository, read_swarm_key, set_peers
from engines.kubo_config import new_swarm_key
from engines.kubo_swarm import KuboSwarm
from ledger.ports import free_ports
from storage import Cid, KuboBlockStore, StoreAccessError, StoreUnavailableError

pytestmark = pytest.mark.network

_TIMEOUT_SECONDS = 2.0
_ADDRESS = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
_REACHES_OUT = re.compile(r"\b(connect|sendto|sendmsg|sendmmsg|bind)\(")


def _addresses(trace: str) -> set[str]:
    """The IP addresses that traced processes connected to, sent to or bound."""
    lines = [line for line in trace.splitlines() if _REACHES_OUT.search(line)]
    return {v4 or v6 for line in lines for v4, v6 in _ADDRESS.findall(line)}


def _outside(trace: str) -> set[str]:
    """Those of them that are not loopback; Go, to learn of IPv6, binds ``::1`` and ``::ffff:127.0.0.1``."""
    outside = set()
    for text in _addresses(trace):
        address = ip_address(text)
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        if not (mapped or address).is_loopback:
            outside.add(text)
    return outside


def _exchange(swarm: KuboSwarm) -> None:
    """A block goes from one daemon to the other, and one that nobody has is looked for."""
    giver, taker = (store_of(daemon) for daemon in swarm.daemons)
    cid = giver.put(b"a block that travels")
    assert taker.from_swarm(30).get(cid) == b"a block that travels"
    with pytest.raises(StoreUnavailableError):
        taker.from_swarm(_TIMEOUT_SECONDS).get(Cid.of(b"nobody has this"))
    giver.close()
    taker.close()


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace to see the daemons' system calls")
def test_daemons_that_exchange_a_block_contact_nothing_but_loopback(
    ipfs_binary: Path, tmp_path: Path
) -> None:
    trace_path = tmp_path / "trace"
    traced = tmp_path / "traced-ipfs"
    # -D: the daemon keeps the pid that was started, so that signals reach it and not strace.
    traced.write_text(
        f'#!/bin/sh\nexec strace -D -ff -y -e trace=network,fsync,fdatasync -o "{trace_path}" "{ipfs_binary}" "$@"\n'
    )
    traced.chmod(0o700)
    with new_swarm(tmp_path, traced, 2) as swarm:
        _exchange(swarm)
    trace = "\n".join(path.read_text(errors="replace") for path in tmp_path.glob("trace.*"))
    assert "127.0.0.1" in _addresses(trace), "nothing was traced"
    assert _outside(trace) == set()
    synced = {match for match in re.findall(r"fsync\(\d+<([^>]+)>\)\s+= 0", trace) if "/blocks/" in match}
    assert synced, "flatfs never synced a block"


def test_outside_of_a_trace_with_an_outside_contact_names_it() -> None:
    """The check above can fail."""
    v4 = 'connect(9, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("192.0.2.1")}, 16) = 0'
    v6 = 'sendto(9, "x", 1, 0, {sa_family=AF_INET6, inet_pton(AF_INET6, "2001:db8::1", &sin6_addr)}, 28) = 1'
    assert _outside(f"{v4}\n{v6}") == {"192.0.2.1", "2001:db8::1"}


def test_swarm_in_an_empty_network_namespace_exchanges_blocks(ipfs_binary: Path, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no network namespace")
    script = (
        "import subprocess, sys; from pathlib import Path\n"
        "subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)\n"
        "sys.path.insert(0, sys.argv[3])\n"
        "from kubo_fixtures import new_swarm; from test_kubo_private import _exchange\n"
        "with new_swarm(Path(sys.argv[1]), Path(sys.argv[2]), 2) as swarm: _exchange(swarm)\n"
        "print('exchanged')\n"
    )
    support = Path(__file__).parents[1] / "support"
    done = subprocess.run(
        ["unshare", "-rn", sys.executable, "-c", script, str(tmp_path), str(ipfs_binary), str(support)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONPATH": str(Path(__file__).parent)},
        cwd=Path(__file__).parents[2],
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == "exchanged", done.stderr


def test_peer_with_another_swarm_key_is_refused(kubo: KuboDaemon, ipfs_binary: Path, tmp_path: Path) -> None:
    """Attack: a stranger who knows address and peer id."""
    stranger = _member(tmp_path / "stranger", ipfs_binary, new_swarm_key())
    set_peers(stranger.directory, [kubo.peer])
    set_peers(kubo.directory, [stranger.peer])
    kubo.restart()
    with stranger, pytest.raises(EngineFailed, match="swarm/connect"):
        stranger.connect(kubo.peer)
    assert kubo.connected_peers() == frozenset()


def test_peer_with_the_swarm_key_that_is_not_named_gets_nothing(
    kubo: KuboDaemon, ipfs_binary: Path, tmp_path: Path
) -> None:
    """Attack: a former member, who still has the swarm key."""
    cid = store_of(kubo).put(b"for members only")
    key = read_swarm_key(kubo.directory)
    assert key is not None
    former = _member(tmp_path / "former", ipfs_binary, key)
    set_peers(former.directory, [kubo.peer])
    with former:
        _try_to_connect(former, kubo)
        with pytest.raises(StoreUnavailableError):
            store_of(former).from_swarm(_TIMEOUT_SECONDS).get(cid)
        for daemon in (kubo, former):
            wait_until(lambda daemon=daemon: daemon.connected_peers() == frozenset(), "nobody is connected")
        # The same daemon, once it is named, gets the block: nothing else was in its way.
        set_peers(kubo.directory, [former.peer])
        kubo.restart()
        former.connect(kubo.peer)
        assert store_of(former).from_swarm(30).get(cid) == b"for members only"
        # And no more when it is no longer named.
        other = store_of(kubo).put(b"after it left")
        set_peers(kubo.directory, [])
        kubo.restart()
        _try_to_connect(former, kubo)
        with pytest.raises(StoreUnavailableError):
            store_of(former).from_swarm(_TIMEOUT_SECONDS).get(other)


def test_daemon_without_a_swarm_key_does_not_start(ipfs_binary: Path, tmp_path: Path) -> None:
    daemon = _member(tmp_path / "keyless", ipfs_binary, new_swarm_key())
    (daemon.repository / "swarm.key").unlink()
    with pytest.raises(EngineFailed, match="did not start"):
        daemon.start()


def test_rpc_without_the_secret_is_refused_for_every_command(kubo: KuboDaemon) -> None:
    cid = store_of(kubo).put(b"secret")
    commands = ("id", "block/get", "block/put", "pin/ls", "config/show", "shutdown", "version", "repo/gc")
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic bm9kZTp3cm9uZw=="}):
        for command in commands:
            url, named = f"{kubo.rpc_url}/api/v0/{command}", {"arg": str(cid)}
            answer = httpx.post(url, params=named, headers=headers, timeout=60)
            assert answer.status_code == httpx.codes.FORBIDDEN, command
    wrong = KuboBlockStore(kubo.rpc_url, "wrong")
    for action in (lambda: wrong.put(b"x"), lambda: wrong.get(cid), lambda: list(wrong.cids())):
        with pytest.raises(StoreAccessError, match="secret") as raised:
            action()
        assert "wrong" not in str(raised.value)


def test_rpc_with_the_secret_opens_blocks_and_pins_only(kubo: KuboDaemon) -> None:
    headers = {"Authorization": f"Bearer {kubo.secret_file.read_text().strip()}"}
    for command in (
        "config/show",
        "shutdown",
        "key/list",
        "files/ls",
        "add",
        "cat",
        "ls",
        "diag/sys",
        "log/ls",
    ):
        answer = httpx.post(f"{kubo.rpc_url}/api/v0/{command}", headers=headers, timeout=60)
        assert answer.status_code == httpx.codes.FORBIDDEN, command
    answer = httpx.post(f"{kubo.rpc_url}/api/v0/pin/ls", headers=headers, timeout=60)
    assert answer.status_code == httpx.codes.OK


def test_daemon_listens_on_loopback_only_and_has_no_gateway(kubo: KuboDaemon) -> None:
    process = kubo.background.process()
    assert process is not None
    listening = [c.laddr for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert len(listening) == 2, "the RPC and the swarm"
    assert [c for c in process.net_connections() if c.status == psutil.CONN_NONE] == [], "no UDP socket"
    cid = store_of(kubo).put(b"not for the gateway")
    for path in (f"/ipfs/{cid}", f"/ipfs/{cid}?format=raw", f"/api/v0/block/get?arg={cid}"):
        answer = httpx.get(f"{kubo.rpc_url}{path}", timeout=60)
        assert answer.status_code in (
            httpx.codes.NOT_FOUND,
            httpx.codes.METHOD_NOT_ALLOWED,
            httpx.codes.FORBIDDEN,
        )
        assert b"not for the gateway" not in answer.content


def test_secrets_of_a_daemon_lie_in_private_files_and_nowhere_else(kubo: KuboDaemon) -> None:
    swarm_key = read_swarm_key(kubo.directory)
    assert swarm_key is not None
    known = {kubo.secret_file.read_text().strip(), swarm_key.hex()}
    for path in (kubo.secret_file, kubo.repository / "config", kubo.repository / "swarm.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(kubo.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(kubo.repository.stat().st_mode) == 0o700
    process = kubo.background.process()
    assert process is not None
    seen = " ".join([*process.cmdline(), *process.environ().values(), kubo.background.log_path.read_text()])
    assert not [secret for secret in known if secret in seen]
    debug = (
        httpx.get(f"{kubo.rpc_url}/debug/vars", timeout=60).text
        + httpx.get(f"{kubo.rpc_url}/debug/metrics/prometheus", timeout=60).text
    )
    assert not [secret for secret in known if secret in debug]


def test_create_repository_again_keeps_identity_key_and_blocks(kubo: KuboDaemon, ipfs_binary: Path) -> None:
    peer, cid = kubo.peer, store_of(kubo).put(b"kept")
    again = create_repository(
        kubo.directory,
        ipfs_binary,
        swarm_key=new_swarm_key(),
        rpc_port=1,
        swarm_listen="/ip4/127.0.0.1/tcp/1",
    )
    assert again == peer
    kubo.restart()
    assert store_of(kubo).get(cid) == b"kept"


def test_create_repository_after_an_interrupted_one_starts_anew(ipfs_binary: Path, tmp_path: Path) -> None:
    (tmp_path / "repository.making").mkdir()
    (tmp_path / "repository.making" / "config").write_text("half")
    with _member(tmp_path, ipfs_binary, new_swarm_key()) as daemon:
        assert daemon.answers()


def test_peer_of_a_daemon_behind_another_address_is_what_others_dial(
    ipfs_binary: Path, tmp_path: Path, kubo: KuboDaemon
) -> None:
    rpc_port, swarm_port = free_ports(2)
    key = read_swarm_key(kubo.directory)
    assert key is not None
    listen, announce = (f"/ip4/{address}/tcp/{swarm_port}" for address in ("0.0.0.0", "127.0.0.1"))
    made = create_repository(
        tmp_path / "b", ipfs_binary, swarm_key=key, rpc_port=rpc_port, swarm_listen=listen, announce=announce
    )
    assert made.address == announce
    with KuboDaemon(tmp_path / "b", ipfs_binary) as behind:
        set_peers(kubo.directory, [made])
        set_peers(behind.directory, [kubo.peer])
        kubo.restart()
        behind.restart()
        kubo.connect(made)
        assert kubo.connected_peers() == {made.peer_id}


def _member(directory: Path, binary: Path, swarm_key: bytes) -> KuboDaemon:
    rpc_port, swarm_port = free_ports(2)
    listen = f"/ip4/127.0.0.1/tcp/{swarm_port}"
    create_repository(directory, binary, swarm_key=swarm_key, rpc_port=rpc_port, swarm_listen=listen)
    return KuboDaemon(directory, binary)


def _try_to_connect(one: KuboDaemon, other: KuboDaemon) -> None:
    """The dialler may believe for a moment that it is connected: it learns of the refusal by the closed connection."""
    try:
        one.connect(other.peer)
    except EngineFailed:
        return
