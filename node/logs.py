"""Logs as JSON lines, and the middleware that logs and counts each request.

A line holds the request's id, the route's template (never the path), method, status, milliseconds, the kind of
caller and the problem's code. It never holds a patient, a name, a token or a body.
"""

import logging
import sys
import time
from collections.abc import MutableMapping
from typing import Any, TextIO
from uuid import uuid4

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from node.metrics import Metrics

REQUEST_ID_HEADER = b"phr-request-id"


def configure_logs(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Sends all structured logs of this process as JSON lines to ``stream`` (standard error, when absent)."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )


class RequestLog:
    """ASGI middleware: one log line and one count a request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics
        self._log = structlog.get_logger("node.requests")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI 3 has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid4().hex
        started = time.perf_counter()
        status = 500

        async def send_noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (REQUEST_ID_HEADER, request_id.encode())]
            await send(message)

        scope.setdefault("state", {})
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, send_noting_status)
            finally:
                self._note(scope, status, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, elapsed_seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unknown")
        state: MutableMapping[str, Any] = scope["state"]
        code = state.get("problem_code")
        # A method is any word that a client sends: only those that a route knows may become labels.
        method = scope["method"] if route != "unknown" else "unknown"
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.latency.labels(route).observe(elapsed_seconds)
        if code is not None:
            self._metrics.refusals.labels(code).inc()
        self._log.info(
            "request",
            method=method,
            route=route,
            status=status,
            milliseconds=round(elapsed_seconds * 1000, 1),
            caller=state.get("caller_kind", "none"),
            problem=code,
        )
