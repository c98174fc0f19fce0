"""A hostile operator: a real HTTP server before a real node, which passes everything on but what it is told to alter.

A member's endpoint on the ledger is the proxy, so to a wallet the proxy is that member's node.
"""

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from node_fixtures import Member, Network

from ledger import calls
from ledger.messages import MemberKeys

Answer = tuple[int, bytes]
Rule = Callable[[bytes, Callable[[], Answer]], Answer]
"""From a request's body, and what the honest node would answer, to what is answered."""

_PASSED_ON = (
    "signature",
    "signature-input",
    "content-digest",
    "phr-destination",
    "authorization",
    "content-type",
)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _handle(self) -> None:
        proxy: LyingProxy = self.server.proxy  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() in _PASSED_ON}
        status, content = proxy.answer(self.command, self.path, body, headers)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _handle  # noqa: N815 - names that http.server looks for

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Else the sixth that connects at once is let wait for seconds, and gives up.
    request_queue_size = 128


@dataclass
class LyingProxy:
    """The proxy before one node; ``rules`` maps a pattern of "METHOD path" to what is done instead."""

    upstream: str
    rules: dict[str, Rule] = field(default_factory=dict)
    seen: list[tuple[str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._http = httpx.Client(timeout=60, trust_env=False)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        self.seen.append((f"{method} {path}", body))

        def honest() -> Answer:
            sent = {**headers, "Accept-Encoding": "identity"}
            response = self._http.request(method, self.upstream + path, content=body, headers=sent)
            return response.status_code, response.content

        for pattern, rule in self.rules.items():
            if re.search(pattern, f"{method} {path}"):
                return rule(body, honest)
        return honest()

    def alter(self, pattern: str, change: Callable[[Any], None]) -> None:
        """Changes the JSON of successful answers in place."""

        def rule(_: bytes, honest: Callable[[], Answer]) -> Answer:
            status, content = honest()
            if status == 200:
                document = json.loads(content)
                change(document)
                content = json.dumps(document).encode()
            return status, content

        self.rules[pattern] = rule

    def refuse(self, pattern: str, status: int = 503) -> None:
        """Answers with a problem, and passes nothing on."""
        problem = {"title": "No", "status": status, "code": "no", "detail": "not today"}
        self.rules[pattern] = lambda body, honest: (status, json.dumps(problem).encode())

    def honest(self) -> None:
        """Passes everything on from here."""
        self.rules.clear()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._http.close()
        self._thread.join(60)


def put_before(network: Network, member: Member) -> LyingProxy:
    """A proxy before a member's node, and on the ledger as its endpoint."""
    proxy = LyingProxy(member.url)
    state = member.node.ledger.snapshot().state
    keys = state.members[member.address].current_keys
    change = MemberKeys(
        member.address, keys.name, proxy.url, keys.encryption_key, keys.transport_key, keys.version + 1, 0
    )
    member.node.sender.send(network.deployment.address, calls.change_member_keys(change))
    network.wait_for_all()
    return proxy
