"""Moving a node's blocks: what is refused before anything is touched. The moves themselves are in tests/network."""

from pathlib import Path

import pytest
from node_offline import initialise_offline

from node import moving_blocks
from node.block_store import OpenedStore
from node.config import CONFIG_FILE, NodeConfig
from node.database import Database
from node.errors import ConfigurationError
from node.moving_blocks import move_blocks
from node.process_lock import locked
from node.tables_custody import block_arrivals, block_references
from storage import EmbeddedBlockStore, MemoryBlockStore


def test_move_while_the_node_runs_is_refused(tmp_path: Path) -> None:
    initialise_offline(tmp_path)
    directory = tmp_path / "node"
    before = (directory / CONFIG_FILE).read_bytes()
    with locked(directory), pytest.raises(ConfigurationError, match="runs already"):
        move_blocks(directory, "kubo")
    assert (directory / CONFIG_FILE).read_bytes() == before


def test_move_to_kubo_without_its_address_is_refused(tmp_path: Path) -> None:
    initialise_offline(tmp_path)
    with pytest.raises(ConfigurationError, match="kubo_url"):
        move_blocks(tmp_path / "node", "kubo")
    assert NodeConfig.load(tmp_path / "node").store == "embedded"


def test_move_with_a_secret_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    initialise_offline(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("the-secret")
    secret.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600") as raised:
        move_blocks(tmp_path / "node", "kubo", kubo_url="http://127.0.0.1:1", kubo_secret_file=secret)
    assert "the-secret" not in str(raised.value)


def test_move_where_the_environment_names_the_store_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("the-secret")
    secret.chmod(0o600)
    kubo = {"kubo_url": "http://127.0.0.1:1", "kubo_secret_file": str(secret)}
    initialise_offline(tmp_path, further=kubo)
    monkeypatch.setenv("PHR_NODE_STORE", "kubo")
    with pytest.raises(ConfigurationError, match="PHR_NODE_STORE"):
        move_blocks(tmp_path / "node", "embedded")


@pytest.mark.parametrize("settings", [{"store": "kubo"}, {"store": "kubo", "kubo_url": "http://127.0.0.1:1"}])
def test_initialisation_with_kubo_and_half_its_settings_is_refused(
    tmp_path: Path, settings: dict[str, str]
) -> None:
    with pytest.raises(ConfigurationError, match="kubo_secret_file"):
        initialise_offline(tmp_path, further=settings)
    assert not (tmp_path / "node" / CONFIG_FILE).exists()


@pytest.fixture
def moving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, MemoryBlockStore]:
    """A stopped node with blocks, and the store that takes the daemon's place."""
    secret = tmp_path / "secret"
    secret.write_text("the-secret")
    secret.chmod(0o600)
    initialise_offline(tmp_path, further={"kubo_url": "http://127.0.0.1:1", "kubo_secret_file": str(secret)})
    other = MemoryBlockStore()
    opened = OpenedStore(other, lambda: 2**40, lambda: None)
    monkeypatch.setattr(moving_blocks, "open_kubo_store", lambda _: opened)
    return tmp_path / "node", other


def test_block_that_the_node_deleted_between_two_moves_does_not_come_back(moving) -> None:
    directory, other = moving
    here = EmbeddedBlockStore(directory / "blocks")
    needed, waiting, deleted = (here.put(block) for block in (b"needed", b"waiting", b"deleted"))
    database = Database(NodeConfig.load(directory).database)
    with database.begin() as connection:
        connection.execute(block_references.insert().values(cid=str(needed), holder=bytes(32)))
        for cid in (needed, waiting, deleted):
            row = {"cid": str(cid), "size_bytes": 7, "uploader": bytes(20), "arrived_at": 0}
            connection.execute(block_arrivals.insert().values(row))
    move_blocks(directory, "kubo")
    # As the sweep does, while the node runs on the other store.
    other.delete(deleted)
    with database.begin() as connection:
        connection.execute(block_arrivals.delete().where(block_arrivals.c.cid == str(deleted)))
    database.close()
    move_blocks(directory, "embedded")
    assert set(here.cids()) == {needed, waiting}
    assert NodeConfig.load(directory).store == "embedded"


def test_move_while_a_node_on_another_machine_has_the_database_is_refused(
    moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, other = moving
    EmbeddedBlockStore(directory / "blocks").put(b"a block")

    def taken(_: Database) -> None:
        raise ConfigurationError("another process runs a node on this database")

    monkeypatch.setattr(Database, "claim", taken)
    with pytest.raises(ConfigurationError, match="another process"):
        move_blocks(directory, "kubo")
    assert list(other.cids()) == []
    assert NodeConfig.load(directory).store == "embedded"
