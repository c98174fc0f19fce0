"""Whoever sits where the database server should be: it gets no password, and nothing that it says is believed."""

import pwd
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from engines.postgres import PostgresServer
from node.database_postgres import engine_options

PASSWORD = "hunter2-of-this-node"
_SSL, _GSS = 80877103, 80877104
_CLEARTEXT, _TRUST = 3, 0


@dataclass
class Stranger:
    """Speaks as much of PostgreSQL's protocol as a thief of passwords needs; keeps all that it was sent."""

    listening: socket.socket
    asks: int
    """The authentication that it asks for: 3 is the password in clear, 0 none (protocol 3.0, AuthenticationRequest)."""
    heard: bytes = b""
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(30)
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        while data := connection.recv(65536):
            self.heard += data
            if len(data) == 8 and struct.unpack(">ii", data)[1] in (_SSL, _GSS):
                connection.sendall(b"N")
            else:
                connection.sendall(b"R" + struct.pack(">ii", 8, self.asks))

    def close(self) -> None:
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        self._thread.join(60)


@pytest.fixture(params=[_CLEARTEXT, _TRUST], ids=["asks-in-clear", "asks-for-nothing"])
def asks(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def at_port(asks: int) -> Iterator[tuple[Stranger, int]]:
    listening = socket.create_server(("127.0.0.1", 0))
    stranger = Stranger(listening, asks)
    yield stranger, listening.getsockname()[1]
    stranger.close()


def test_attack_stranger_at_the_servers_port_gets_no_password_and_is_not_believed(
    at_port: tuple[Stranger, int],
) -> None:
    stranger, port = at_port
    url = make_url(f"postgresql+psycopg://node:{PASSWORD}@127.0.0.1:{port}/node")
    engine = create_engine(url, **engine_options(url))
    with pytest.raises(OperationalError, match="authentication method requirement"):
        engine.connect()
    assert b"node" in stranger.heard
    assert PASSWORD.encode() not in stranger.heard


def test_attack_stranger_in_the_place_of_the_servers_socket_hears_nothing(
    tmp_path_factory: pytest.TempPathFactory, asks: int
) -> None:
    """Its directory may lie below /tmp, where whoever comes first after a boot can make it."""
    # A socket's path is short.
    directory = tmp_path_factory.mktemp("s")
    password_file = directory / "password"
    password_file.write_text(f"*:*:node:node:{PASSWORD}\n")
    password_file.chmod(0o600)
    # As everywhere, the server's user is not the one who listens here.
    server = PostgresServer(directory, Path("/usr/bin"), pwd.getpwnam("nobody"))
    server.socket_directory.mkdir()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(server.socket_directory / ".s.PGSQL.5432"))
    listening.listen()
    stranger = Stranger(listening, asks)
    try:
        url = make_url(server.url("node", password_file))
        with pytest.raises(OperationalError, match='requirepeer specifies "nobody"'):
            create_engine(url, **engine_options(url)).connect()
        assert stranger.heard == b""
    finally:
        stranger.close()


def test_engine_options_leave_to_the_url_what_it_says_itself() -> None:
    url = make_url("postgresql+psycopg://node@/node?host=/run/postgresql&require_auth=none")
    assert "require_auth" not in engine_options(url)["connect_args"]
