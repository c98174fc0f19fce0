"""The private configuration as a pure function: what ``ipfs init`` writes goes in, what is started comes out."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engines import EnginesError
from engines.kubo import create_repository
from engines.kubo_config import (
    RPC_PATHS,
    KuboPeer,
    KuboSettings,
    new_swarm_key,
    peer_limits,
    private_configuration,
    swarm_key_file,
    with_peers,
)

_SETTINGS = KuboSettings(
    rpc_port=5001, swarm_listen="/ip4/127.0.0.1/tcp/4001", announce="", storage_max_bytes=10**9
)
_PEER = KuboPeer("12D3KooWPeer", "/ip4/127.0.0.1/tcp/4002")
_INITIAL: dict[str, Any] = {
    "Identity": {"PeerID": "12D3KooWOwn", "PrivKey": "kept as it is"},
    "Addresses": {
        "API": "/ip4/127.0.0.1/tcp/5001",
        "Gateway": "/ip4/127.0.0.1/tcp/8080",
        "Swarm": ["/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1"],
    },
    "Datastore": {
        "StorageMax": "10GB",
        "Spec": {
            "type": "mount",
            "mounts": [
                {"type": "flatfs", "mountpoint": "/blocks", "path": "blocks", "sync": False},
                {"type": "levelds", "mountpoint": "/", "path": "datastore"},
            ],
        },
    },
    "Bootstrap": ["/dnsaddr/bootstrap.example/p2p/12D3KooWPublic"],
    "Gateway": {"NoFetch": False},
    "Swarm": {"AddrFilters": None},
    "Import": {"CidVersion": 1},
}


def _private() -> dict[str, Any]:
    return private_configuration(_INITIAL, _SETTINGS, "the-secret", [_PEER])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("Bootstrap", []),
        ("AutoConf.Enabled", False),
        ("DNS.Resolvers", {}),
        ("Routing.Type", "none"),
        ("Routing.DelegatedRouters", []),
        ("Ipns.DelegatedPublishers", []),
        ("Discovery.MDNS.Enabled", False),
        ("AutoTLS.Enabled", False),
        ("AutoNAT.ServiceMode", "disabled"),
        ("Swarm.DisableNatPortMap", True),
        ("Swarm.RelayClient.Enabled", False),
        ("Swarm.RelayService.Enabled", False),
        ("Swarm.EnableHolePunching", False),
        ("Swarm.Transports.Network.QUIC", False),
        ("Swarm.Transports.Network.WebTransport", False),
        ("Swarm.Transports.Network.WebRTCDirect", False),
        ("Swarm.Transports.Network.Websocket", False),
        ("Swarm.Transports.Network.Relay", False),
        ("Swarm.ResourceMgr.Enabled", True),
        ("HTTPRetrieval.Enabled", False),
        ("Provide.Enabled", False),
        ("Gateway.NoFetch", True),
        ("Addresses.Gateway", []),
        ("Addresses.API", "/ip4/127.0.0.1/tcp/5001"),
        ("Addresses.Swarm", ["/ip4/127.0.0.1/tcp/4001"]),
        ("Version.SwarmCheckEnabled", False),
        ("Datastore.StorageMax", "1000000000B"),
        ("Peering.Peers", [{"ID": "12D3KooWPeer", "Addrs": ["/ip4/127.0.0.1/tcp/4002"]}]),
        ("API.Authorizations.node.AuthSecret", "bearer:the-secret"),
        ("API.Authorizations.node.AllowedPaths", list(RPC_PATHS)),
        ("Identity", _INITIAL["Identity"]),
        ("Import", {"CidVersion": 1}),
    ],
)
def test_private_configuration_sets_what_keeps_a_swarm_private(path: str, value: object) -> None:
    found: Any = _private()
    for name in path.split("."):
        found = found[name]
    assert found == value


def test_private_configuration_syncs_flatfs_and_leaves_the_other_datastore() -> None:
    flatfs, leveldb = _private()["Datastore"]["Spec"]["mounts"]
    assert flatfs["sync"] is True
    assert leveldb == _INITIAL["Datastore"]["Spec"]["mounts"][1]


def test_private_configuration_of_another_datastore_is_refused() -> None:
    """pebble lost blocks in every one of twenty kills: it must not slip in with a new version of Kubo."""
    other = copy.deepcopy(_INITIAL)
    other["Datastore"]["Spec"]["mounts"][0]["type"] = "pebbleds"
    with pytest.raises(ValueError, match="flatfs"):
        private_configuration(other, _SETTINGS, "the-secret")


def test_private_configuration_leaves_its_argument_alone() -> None:
    before = json.dumps(_INITIAL)
    _private()
    with_peers(_INITIAL, [_PEER])
    assert json.dumps(_INITIAL) == before


def test_rpc_paths_open_neither_configuration_nor_keys_nor_shutdown() -> None:
    for command in (
        "config",
        "config/show",
        "key/export",
        "shutdown",
        "repo/migrate",
        "add",
        "cat",
        "swarm/peering",
    ):
        assert not any(f"/api/v0/{command}".startswith(path) for path in RPC_PATHS)


def test_peer_limits_leave_a_stranger_no_connection_and_a_named_peer_all() -> None:
    limits = peer_limits([_PEER])
    assert set(limits["PeerDefault"].values()) == {"blockAll"}
    assert {"Conns", "ConnsInbound", "ConnsOutbound"} <= set(limits["PeerDefault"])
    assert set(limits["Peer"]) == {"12D3KooWPeer"}
    assert set(limits["Peer"]["12D3KooWPeer"].values()) == {"unlimited"}


def test_swarm_key_file_has_the_form_that_libp2p_reads() -> None:
    assert swarm_key_file(bytes(32)) == f"/key/swarm/psk/1.0.0/\n/base16/\n{'00' * 32}\n"
    assert len({new_swarm_key() for _ in range(3)}) == 3
    with pytest.raises(ValueError, match="32 bytes"):
        swarm_key_file(bytes(31))


def test_private_configuration_announces_what_it_is_told_and_nothing_else() -> None:
    assert _private()["Addresses"]["Announce"] == []
    behind = replace(_SETTINGS, swarm_listen="/ip4/0.0.0.0/tcp/4001", announce="/dns4/kubo.example/tcp/4001")
    addresses = private_configuration(_INITIAL, behind, "the-secret")["Addresses"]
    assert addresses["Announce"] == ["/dns4/kubo.example/tcp/4001"]


@pytest.mark.parametrize("listen", ["/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001"])
def test_create_repository_on_any_address_without_one_to_dial_is_refused(tmp_path: Path, listen: str) -> None:
    with pytest.raises(EnginesError, match="announce"):
        create_repository(
            tmp_path / "kubo", tmp_path / "ipfs", swarm_key=bytes(32), rpc_port=1, swarm_listen=listen
        )
    assert not (tmp_path / "kubo").exists()


def test_settings_and_peers_show_no_secret() -> None:
    assert "secret" not in repr(_SETTINGS) + repr(_PEER)
