"""The block store of a node's configuration, and how much room it has."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from crypto.errors import KeyfileError
from crypto.private_file import read_private
from node.config import NodeConfig
from node.errors import ConfigurationError
from storage import BlockStore, EmbeddedBlockStore, KuboBlockStore

_SECRET_LIMIT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class OpenedStore:
    """A store, how much room is left for it, and what ends its connections."""

    store: BlockStore
    free_bytes: Callable[[], int]
    """Bytes that may still be written: on the disk of the node's directory, and in the store if it lies elsewhere."""
    close: Callable[[], None]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_block_store(config: NodeConfig) -> OpenedStore:
    """The store that a node's configuration names; a Kubo daemon need not run yet.

    Raises:
        ConfigurationError: the secret's file cannot be used.
        storage.StorageError: the embedded store's directory cannot be used.
    """
    return open_kubo_store(config) if config.store == "kubo" else open_embedded_store(config)


def open_embedded_store(config: NodeConfig) -> OpenedStore:
    """The embedded store in the node's directory, whichever the configuration names.

    Raises:
        storage.StorageError: its directory cannot be used.
    """
    store = EmbeddedBlockStore(config.path(config.blocks))
    return OpenedStore(store, lambda: _free_disk_bytes(config), lambda: None)


def open_kubo_store(config: NodeConfig) -> OpenedStore:
    """The Kubo daemon of ``kubo_url``, whichever store the configuration names.

    Raises:
        ConfigurationError: there is no URL, or the secret's file cannot be used.
    """
    if not config.kubo_url or config.kubo_secret_file is None:
        raise ConfigurationError("expected kubo_url and kubo_secret_file in node.toml: name the Kubo daemon")
    try:
        secret = read_private(config.path(config.kubo_secret_file), _SECRET_LIMIT_BYTES).decode().strip()
    except (KeyfileError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"kubo_secret_file: {error}") from error
    store = KuboBlockStore(config.kubo_url, secret)

    def free_bytes() -> int:
        # The database and the ledger's copy are on the node's own disk, wherever the blocks are.
        return min(store.free_bytes(), _free_disk_bytes(config))

    return OpenedStore(store, free_bytes, store.close)


def _free_disk_bytes(config: NodeConfig) -> int:
    return shutil.disk_usage(config.directory).free
