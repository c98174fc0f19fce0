"""A hostile or broken validator: a real JSON-RPC server before a real chain, which alters what it is told to alter."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from ledger.ports import free_ports

Change = Callable[[list[Any], Any], Any]
"""From a request's parameters and the honest result to what is answered as the result."""


class RpcError(Exception):
    """Answer with a JSON-RPC error instead."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        endpoint: LyingEndpoint = self.server.endpoint  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = endpoint.answer(body)
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news."""


class LyingEndpoint:
    """One endpoint before ``upstream``; honest until told otherwise.

    Attributes:
        asked: Every method that it was asked for, in order.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.asked: list[str] = []
        self._changes: dict[str, Change] = {}
        self._swallowed: set[str] = set()
        self._raw: bytes | None = None
        self._hanging: threading.Event | None = None
        self._hanging_methods: frozenset[str] = frozenset()
        self._http = httpx.Client(timeout=60, trust_env=False)
        (self._port,) = free_ports(1)
        self._server: _Server | None = None
        self.up()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def up(self) -> None:
        """Listens, again on the same port."""
        self._server = _Server(("127.0.0.1", self._port), _Handler)
        self._server.endpoint = self  # type: ignore[attr-defined]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """Refuses connections, and cuts those that there are."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def lie(self, method: str, change: Change) -> None:
        """Alters the result of a method."""
        self._changes[method] = change

    def swallow(self, method: str, answer: Callable[[list[Any]], Any]) -> None:
        """Answers a method by itself and passes nothing on."""
        self._swallowed.add(method)
        self._changes[method] = lambda parameters, _: answer(parameters)

    def refuse(self, method: str, message: str) -> None:
        """Answers a method with a JSON-RPC error."""

        def error(_: list[Any], __: Any) -> Any:
            raise RpcError(message)

        self._changes[method] = error

    def send(self, content: bytes) -> None:
        """Answers everything with these bytes."""
        self._raw = content

    def hang(self, *methods: str) -> None:
        """Does what is asked but answers nothing any more, or nothing to these; keeps the connections open."""
        self._hanging, self._hanging_methods = threading.Event(), frozenset(methods)

    def honest(self) -> None:
        """Passes everything on from here."""
        self._changes.clear()
        self._swallowed.clear()
        self._raw = None
        if self._hanging is not None:
            self._hanging.set()
            self._hanging = None

    def close(self) -> None:
        self.honest()
        self.down()
        self._http.close()

    def answer(self, body: bytes) -> bytes:
        if self._server is None:
            raise ConnectionError("down")
        if self._raw is not None:
            return self._raw
        request = json.loads(body)
        several = request if isinstance(request, list) else [request]
        answers = [self._one(one) for one in several]
        hanging, methods = self._hanging, self._hanging_methods
        if hanging is not None and (not methods or any(one["method"] in methods for one in several)):
            hanging.wait(300)
        return json.dumps(answers if isinstance(request, list) else answers[0]).encode()

    def _one(self, request: dict[str, Any]) -> dict[str, Any]:
        method, parameters = request["method"], request["params"]
        self.asked.append(method)
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"], "result": None}
        if method not in self._swallowed:
            answer = self._http.post(self.upstream, json=request).json()
        change = self._changes.get(method)
        if change is not None and "result" in answer:
            try:
                answer["result"] = change(parameters, answer["result"])
            except RpcError as error:
                return {
                    "jsonrpc": "2.0",
                    "id": request["id"],
                    "error": {"code": -32000, "message": str(error)},
                }
        return answer
