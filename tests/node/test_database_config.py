"""Where a node's database is: no password in node.toml, and none in what is said about it."""

from pathlib import Path
from typing import Any

import pytest

from crypto.errors import KeyfileError
from node.config import NodeConfig
from node.errors import ConfigurationError

SETTINGS = (
    'name = "Seoul Hospital"\nendpoint = "http://127.0.0.1:1"\nport = 0\nrpc_url = "http://127.0.0.1:2"\n'
)
SECRET = "postgresql+psycopg://node:hunter2@db.example/node"


def load(directory: Path, **settings: Any) -> NodeConfig:
    lines = "".join(f'{name} = "{value}"\n' for name, value in settings.items())
    (directory / "node.toml").write_text(SETTINGS + lines)
    return NodeConfig.load(directory)


def test_database_is_a_file_of_the_directory_unless_told(tmp_path: Path) -> None:
    assert load(tmp_path).database == f"sqlite:///{tmp_path / 'node.db'}"


def test_attack_password_in_the_settings_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="without a password") as refused:
        load(tmp_path, database_url=SECRET)
    assert "hunter2" not in str(refused.value)


def test_url_with_a_password_is_read_from_a_file_of_the_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "database-url"
    file.write_text(SECRET + "\n")
    file.chmod(0o600)
    config = load(tmp_path, database_url_file="database-url")
    assert config.database == SECRET
    assert "hunter2" not in repr(config)
    file.chmod(0o640)
    with pytest.raises(KeyfileError, match="0600"):
        config.database  # noqa: B018 - reading it is the test


def test_two_places_for_one_database_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not both"):
        load(tmp_path, database_url="sqlite:////srv/node.db", database_url_file="database-url")


@pytest.mark.parametrize("url", ["nonsense", "://", "postgres"])
def test_what_is_no_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="expected a database URL"):
        load(tmp_path, database_url=url)
