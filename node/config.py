"""A node's configuration: ``node.toml`` in its directory, and over it the environment (``PHR_NODE_*``).

This is an edge: nothing else of the node reads the environment or looks for files by itself.
"""

import json
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from crypto.private_file import read_private
from ledger.engine import ENGINES
from node.errors import ConfigurationError
from node.request_body import faults

CONFIG_FILE = "node.toml"
LARGEST_FILE_BYTES = 2 * 1024**3
MOST_FILE_BYTES = 7 * 1024**3
"""A custodian keeps 8 GiB of a member's blocks that wait for their deposit (``node.blocks``): more could be published
from here and deposited nowhere."""
_URL_FILE_BYTES = 4096


class NodeConfig(BaseSettings):
    """How one node runs. Relative paths are below ``directory``."""

    model_config = SettingsConfigDict(
        env_prefix="PHR_NODE_", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    directory: Path
    """The node's own directory, absolute."""
    name: str = Field(min_length=1, max_length=128)
    """The organisation's name, as enrolled."""
    endpoint: str
    """The URL under which other members and patients reach this node."""
    host: str = "127.0.0.1"
    """The address to listen on."""
    port: int = Field(ge=0, le=65535)
    """The TCP port to listen on; 0 = any free one."""
    rpc_url: str = ""
    """The JSON-RPC endpoint of the chain, where there is one: short for ``rpc_urls`` of one."""
    rpc_urls: tuple[str, ...] = Field(default=(), max_length=64)
    """The JSON-RPC endpoints of the chain's validators, the own one first."""
    rpc_confirmations: int = Field(default=0, ge=0, le=64)
    """How many of them must agree on a block and its logs before it is taken; 0 = a third of them and one more."""
    engine: str = "anvil"
    """Which engine answers there."""
    deployment: Path = Path("deployment.json")
    """The ledger's deployment, as ``ledger.deploy.Deployment`` in JSON."""
    database_url: str = ""
    """An SQLAlchemy URL of SQLite or PostgreSQL, without a password; ``node.db`` in the directory, when empty."""
    database_url_file: Path | None = None
    """A file (0600) with such a URL, which may have a password in it."""
    store: Literal["embedded", "kubo"] = "embedded"
    """Where blocks are kept: in files of the directory ``blocks``, or in a Kubo daemon."""
    blocks: Path = Path("blocks")
    """The directory of the embedded block store."""
    kubo_url: str = ""
    """Where the RPC of this member's Kubo daemon answers; on this machine, since the RPC speaks no TLS."""
    kubo_secret_file: Path | None = None
    """A file (0600) with the bearer secret of that RPC."""
    keystore: Path = Path("keystore")
    passphrase_file: Path = Path("passphrase")
    """A file (0600) with the keystore's passphrase."""
    custodians: int = Field(default=0, ge=0, le=32)
    """How many custodians (n) hold each record; 0 = all active ones, at most five."""
    threshold: int = Field(default=0, ge=0, le=32)
    """How many of them (t) open it; 0 = the network's minimum, or a majority of n where that is more."""
    replicas: int = Field(default=3, ge=0, le=32)
    """How many custodians hold a record whole before the ledger is told of it, as far as it has so many; 0 = all.
    Never fewer than one more than open it, where there is one."""
    backup_quota_bytes: int = Field(default=10 * 1024**3, ge=0)
    """How much room wallets' backups may take here."""
    largest_file_bytes: int = Field(default=LARGEST_FILE_BYTES, ge=1, le=MOST_FILE_BYTES)
    """The largest file that staff may publish as it is (an image, a genome)."""
    free_disk_bytes: int = Field(default=256 * 1024**2, ge=0)
    """Deposits and blocks are refused when less room than this is left."""

    @field_validator("name")
    @classmethod
    def _fits_the_ledger(cls, value: str) -> str:
        if len(value.encode()) > 256 or not value.isprintable():
            raise ValueError("expected a name of at most 256 bytes of UTF-8, all printable")
        return value

    @field_validator("endpoint")
    @classmethod
    def _is_url(cls, value: str) -> str:
        return _checked_url(value)

    @field_validator("rpc_url", "kubo_url")
    @classmethod
    def _is_url_or_empty(cls, value: str) -> str:
        return value and _checked_url(value)

    @field_validator("rpc_urls")
    @classmethod
    def _are_urls(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_checked_url(value) for value in values)

    @field_validator("database_url")
    @classmethod
    def _has_no_password(cls, value: str) -> str:
        try:
            password = value and make_url(value).password
        except ArgumentError as error:
            raise ValueError(
                "expected a database URL, such as postgresql+psycopg://node@/node?host=/run/postgresql"
            ) from error
        if password:
            raise ValueError(
                "expected a database URL without a password: name a file with the password in it (?passfile=…), or put "
                "the whole URL into a file (0600) that database_url_file names"
            )
        return value

    @field_validator("engine")
    @classmethod
    def _is_engine(cls, value: str) -> str:
        if value not in ENGINES:
            raise ValueError(f"expected an engine of {', '.join(ENGINES)}")
        return value

    @model_validator(mode="after")
    def _is_consistent(self) -> "NodeConfig":
        if self.custodians and self.threshold > self.custodians:
            raise ValueError("expected a threshold of at most the number of custodians")
        if self.database_url and self.database_url_file:
            raise ValueError("expected database_url or database_url_file, not both")
        if self.store == "kubo" and not (self.kubo_url and self.kubo_secret_file):
            raise ValueError("expected kubo_url and kubo_secret_file, the daemon that store = kubo means")
        if not self.chain_urls:
            raise ValueError("expected rpc_urls, the JSON-RPC endpoints of the chain, or one as rpc_url")
        if len(set(self.chain_urls)) < len(self.chain_urls):
            raise ValueError(
                "expected different endpoints in rpc_urls: one that is named twice confirms nothing"
            )
        if self.rpc_confirmations > len(self.chain_urls):
            raise ValueError("expected rpc_confirmations of at most the number of endpoints in rpc_urls")
        return self

    @property
    def chain_urls(self) -> tuple[str, ...]:
        """The chain's endpoints: ``rpc_url``, where given, then ``rpc_urls``."""
        return (*((self.rpc_url,) if self.rpc_url else ()), *self.rpc_urls)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given in code, then the environment, then the file of the directory that was given."""
        directory = init_settings.init_kwargs.get("directory")  # type: ignore[attr-defined]
        sources: tuple[PydanticBaseSettingsSource, ...] = (init_settings, env_settings)
        if directory is None:
            return sources
        return (*sources, TomlConfigSettingsSource(settings_cls, Path(directory) / CONFIG_FILE))

    @classmethod
    def load(cls, directory: Path | str) -> "NodeConfig":
        """The configuration in a node's directory.

        Raises:
            ConfigurationError: there is none, or it is not as expected; the settings at fault are named.
        """
        path = Path(directory).absolute()
        if not (path / CONFIG_FILE).is_file():
            raise ConfigurationError(f"expected {CONFIG_FILE} in {path}: initialise the node there first")
        try:
            return cls(directory=path)  # type: ignore[call-arg]  # the rest comes from the file
        except ValidationError as error:
            raise ConfigurationError(f"{path / CONFIG_FILE}: {faults(error.errors())}") from None
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{path / CONFIG_FILE} cannot be read: {error}") from None

    @property
    def database(self) -> str:
        """The database's URL, the default resolved. It may hold a password.

        Raises:
            crypto.KeyfileError: ``database_url_file`` cannot be trusted.
        """
        if self.database_url_file is not None:
            content = read_private(self.path(self.database_url_file), _URL_FILE_BYTES)
            return content.decode(errors="replace").strip()
        return self.database_url or f"sqlite:///{self.directory / 'node.db'}"

    def path(self, relative: Path) -> Path:
        """A configured path, below the node's directory unless it is absolute."""
        return self.directory / relative

    def to_toml(self) -> str:
        """The settings that differ from their defaults, as the content of ``node.toml``."""
        lines = ["# Settings of this node. The environment (PHR_NODE_*) overrides them."]
        for name, value in self.model_dump(mode="json", exclude={"directory"}, exclude_defaults=True).items():
            lines.append(f"{name} = {_toml(value)}")
        return "\n".join(lines) + "\n"


def _checked_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected a URL that starts with http:// or https://")
    return value.rstrip("/")


def _toml(value: Any) -> str:
    # A JSON string is a TOML basic string, save that TOML wants DEL escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
