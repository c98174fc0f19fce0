"""The node's HTTP application: routers in, errors as problem details, every request logged and counted."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import APIRouter, FastAPI

from node.admission import Admission
from node.lanes import LANES, REQUEST_THREADS, Lane
from node.lingering import Lingering
from node.logs import RequestLog
from node.metrics import Metrics
from node.openapi import ERRORS, describe
from node.problems import Unforeseen, add_error_handlers


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
    lanes = [Lane(bounds) for bounds in LANES]
    metrics.watch_each(
        "phr_requests_under_way",
        "Requests that arrive, wait or are worked on, by lane",
        "lane",
        lambda: {lane.bounds.name: lane.entered for lane in lanes},
    )
    metrics.watch_each(
        "phr_requests_refused_busy",
        "Requests refused since too many of their kind were under way, by lane",
        "lane",
        lambda: {lane.bounds.name: lane.refused for lane in lanes},
    )
    app.add_middleware(Admission, lanes=lanes)
    app.add_middleware(Unforeseen)
    app.add_middleware(Lingering)
    app.add_middleware(RequestLog, metrics=metrics)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    return app


@asynccontextmanager
async def _with_request_threads(_: FastAPI) -> AsyncIterator[None]:
    anyio.to_thread.current_default_thread_limiter().total_tokens = REQUEST_THREADS
    yield
