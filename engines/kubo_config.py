"""The private configuration of a Kubo repository: pure functions from what ``ipfs init`` wrote to what is wanted.

Nothing is looked up, announced, mapped, relayed, fetched over HTTP or reported; only named peers may connect; blocks
are synced to disk. Sources: https://github.com/ipfs/kubo/blob/v0.43.0/docs/config.md and
https://github.com/ipfs/kubo/blob/v0.43.0/docs/libp2p-resource-management.md.
"""

import copy
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

RPC_USER = "node"
RPC_PATHS = (
    "/api/v0/block/",
    "/api/v0/pin/",
    "/api/v0/refs/local",
    "/api/v0/repo/stat",
    "/api/v0/repo/gc",
    "/api/v0/swarm/connect",
    "/api/v0/swarm/peers",
    "/api/v0/id",
)
"""What the RPC secret opens; all else is refused, the daemon's configuration and shutdown among it."""

_CONNECTIONS = ("Conns", "ConnsInbound", "ConnsOutbound")
_STREAMS = ("Streams", "StreamsInbound", "StreamsOutbound")
_UNLIMITED = dict.fromkeys((*_CONNECTIONS, *_STREAMS, "FD", "Memory"), "unlimited")


@dataclass(frozen=True, slots=True)
class KuboPeer:
    """Another member's Kubo, as its operator told it."""

    peer_id: str
    """The libp2p peer id, for example ``12D3KooW...``."""
    address: str
    """Where it listens, a multiaddr: ``/ip4/127.0.0.1/tcp/4001`` or ``/dns4/kubo.example/tcp/4001``."""

    @property
    def multiaddr(self) -> str:
        """Address and id together, as ``swarm/connect`` takes them."""
        return f"{self.address}/p2p/{self.peer_id}"


@dataclass(frozen=True, slots=True)
class KuboSettings:
    """What differs between one repository and another."""

    rpc_port: int
    """TCP port of the RPC on 127.0.0.1."""
    swarm_listen: str
    """The multiaddr on which other members' daemons connect: ``/ip4/127.0.0.1/tcp/4001``."""
    announce: str
    """The multiaddr that others dial where that is another, as behind a container's or a router's address; or ""."""
    storage_max_bytes: int
    """What the repository may grow to (``Datastore.StorageMax``); the node refuses blocks before it is reached."""


def swarm_key_file(key: bytes) -> str:
    """The content of ``swarm.key`` for a pre-shared key of 32 bytes.

    Source: https://github.com/libp2p/specs/blob/master/pnet/Private-Networks-PSK-V1.md

    Raises:
        ValueError: the key has another length.
    """
    if len(key) != 32:
        raise ValueError(f"expected a swarm key of 32 bytes; came {len(key)}")
    return f"/key/swarm/psk/1.0.0/\n/base16/\n{key.hex()}\n"


def new_swarm_key() -> bytes:
    """A fresh pre-shared key (32 bytes) for all members of one swarm."""
    return secrets.token_bytes(32)


def private_configuration(
    initial: dict[str, Any], settings: KuboSettings, rpc_secret: str, peers: Sequence[KuboPeer] = ()
) -> dict[str, Any]:
    """The configuration of a private repository, from the one that ``ipfs init`` wrote.

    Args:
        initial: the parsed ``config``; its ``Identity`` is kept as it is.
        rpc_secret: the bearer token that opens ``RPC_PATHS``.
        peers: the other members' daemons.
    """
    config = copy.deepcopy(initial)
    config["Addresses"] = {
        "API": f"/ip4/127.0.0.1/tcp/{settings.rpc_port}",
        "Gateway": [],
        "Swarm": [settings.swarm_listen],
        "Announce": [settings.announce] if settings.announce else [],
        "AppendAnnounce": [],
        "NoAnnounce": [],
    }
    config["API"] = {
        "HTTPHeaders": {},
        "Authorizations": {
            RPC_USER: {"AuthSecret": f"bearer:{rpc_secret}", "AllowedPaths": list(RPC_PATHS)},
        },
    }
    config["Bootstrap"] = []
    config["AutoConf"] = {"Enabled": False}
    config["AutoTLS"] = {"Enabled": False}
    config["AutoNAT"] = {"ServiceMode": "disabled"}
    config["DNS"] = {"Resolvers": {}}
    config["Discovery"] = {"MDNS": {"Enabled": False}}
    config["Routing"] = {"Type": "none", "DelegatedRouters": []}
    config["Ipns"] = {**config.get("Ipns", {}), "DelegatedPublishers": []}
    config["Provide"] = {"Enabled": False}
    config["HTTPRetrieval"] = {"Enabled": False}
    config["Gateway"] = {**config.get("Gateway", {}), "NoFetch": True, "NoDNSLink": True}
    config["Version"] = {"SwarmCheckEnabled": False}
    config["Swarm"] = {
        **config.get("Swarm", {}),
        "DisableNatPortMap": True,
        "RelayClient": {"Enabled": False},
        "RelayService": {"Enabled": False},
        "EnableHolePunching": False,
        "Transports": {
            "Network": {
                "TCP": True,
                "QUIC": False,
                "WebTransport": False,
                "WebRTCDirect": False,
                "Websocket": False,
                "Relay": False,
            },
            "Security": {},
            "Multiplexers": {},
        },
        # Only the resource manager refuses peers by their id; without it the limits file would be ignored.
        "ResourceMgr": {"Enabled": True},
    }
    config["Datastore"] = {
        **config["Datastore"],
        "StorageMax": f"{settings.storage_max_bytes}B",
        "Spec": _synced(config["Datastore"]["Spec"]),
        # Pinning puts a block that is there once more: without this, each block would be written and synced twice.
        "WriteThrough": False,
    }
    return with_peers(config, peers)


def with_peers(config: dict[str, Any], peers: Sequence[KuboPeer]) -> dict[str, Any]:
    """The configuration with these peers kept connected; they connect again after an interruption by themselves."""
    entries = [{"ID": peer.peer_id, "Addrs": [peer.address]} for peer in peers]
    return {**config, "Peering": {"Peers": entries}}


def peer_limits(peers: Sequence[KuboPeer]) -> dict[str, Any]:
    """The resource manager's overrides that let these peers connect and no other.

    The swarm key alone lets everybody in who has it. These limits leave a peer that is not named no connection:
    libp2p counts one against its peer's limit as soon as the peer has proven its id, before any protocol is spoken.
    """
    blocked = dict.fromkeys(_CONNECTIONS, "blockAll")
    return {"PeerDefault": blocked, "Peer": {peer.peer_id: dict(_UNLIMITED) for peer in peers}}


def _synced(spec: dict[str, Any]) -> dict[str, Any]:
    """The datastore's description with flatfs syncing each block; its default never does."""
    mounts = [
        {**mount, "sync": True} if mount.get("type") == "flatfs" else mount
        for mount in spec.get("mounts", ())
    ]
    if not any(mount.get("sync") is True for mount in mounts):
        raise ValueError(f"expected a flatfs datastore as 'ipfs init' of Kubo 0.43 makes; came {spec!r}")
    return {**spec, "mounts": mounts}
