"""Moving a node's blocks: what is refused before anything is touched. The moves themselves are in tests/network."""

from pathlib import Path

import pytest
from node_offline import initialise_offline

from node.config import CONFIG_FILE, NodeConfig
from node.errors import ConfigurationError
from node.moving_blocks import move_blocks
from node.process_lock import locked


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
