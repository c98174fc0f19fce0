"""The node's HTTP application: routers in, errors as problem details, every request logged and counted."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import APIRouter, FastAPI

from node.lingering import Lingering
from node.logs import RequestLog
from node.metrics import Metrics
from node.openapi import ERRORS, describe
from node.problems import Unforeseen, add_error_handlers

REQUEST_THREADS = 128
"""How many requests are worked on at once: those that wait for a block hold a thread and little else."""


def create_app(routers: Iterable[APIRouter], metrics: Metrics) -> FastAPI:
    """The application of a node with these routes.

    Neither the interactive documentation nor the OpenAPI document is served: the document is docs/openapi.json.
    """
    app = FastAPI(
        title="phr node",
        version="1",
        description="A member's peer: publishes, keeps and releases health records by consent on the ledger.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=_with_request_threads,
        responses=ERRORS,
    )
    for router in routers:
        app.include_router(router)
    add_error_handlers(app)
    app.add_middleware(Unforeseen)
    app.add_middleware(Lingering)
    app.add_middleware(RequestLog, metrics=metrics)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _with_request_threads(_: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = REQUEST_THREADS
    yield
