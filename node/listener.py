"""Listening: uvicorn in a thread of its own, on a socket that is bound before anything starts."""

import socket
import threading
import time

import uvicorn
from fastapi import FastAPI

from node.errors import ConfigurationError
from node.http_protocol import HEAD_SECONDS, SEND_BUFFER_BYTES, TimedH11Protocol

START_SECONDS = 15.0
GRACE_SECONDS = 10
"""How long requests under way may take to finish after the end was asked for."""


class Listener:
    """One HTTP server of an application. Start and stop once."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        """Will listen on ``host`` and ``port``; port 0 is any free one."""
        self._host, self._port = host, port
        self._socket: socket.socket | None = None
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=TimedH11Protocol,
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",
                timeout_keep_alive=round(HEAD_SECONDS),
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
        )
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on; the configured one before the start."""
        return self._port

    def start(self) -> None:
        """Binds the port and begins; returns when requests are answered.

        Raises:
            ConfigurationError: the address cannot be listened on.
        """
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # The protocol is named because asyncio sets TCP_NODELAY only then: without it each answer waits for 40 ms.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections take it over from the socket that listens (tcp(7)).
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        try:
            listening.bind((self._host, self._port))
        except OSError as error:
            listening.close()
            raise ConfigurationError(
                f"cannot listen on {self._host} port {self._port}: {error.strerror}; choose another port"
            ) from error
        self._socket, self._port = listening, listening.getsockname()[1]
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise ConfigurationError("the HTTP server did not start")
            time.sleep(0.005)

    def end(self) -> None:
        """Asks the server to end, and does not wait."""
        self._server.should_exit = True

    def stop(self) -> None:
        """Ends the server and waits for requests under way."""
        self.end()
        if self._thread.is_alive():
            self._thread.join(GRACE_SECONDS + START_SECONDS)
        if self._socket is not None:
            self._socket.close()

    def _run(self) -> None:
        assert self._socket is not None
        self._server.run(sockets=[self._socket])
