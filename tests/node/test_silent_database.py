"""A database that answers nobody: what needs none of it is answered all the same, and the node says what is wrong."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from fastapi import APIRouter, Depends
from node_processes import wait_until

from node import app as app_module
from node import readiness
from node.app import create_app
from node.listener import Listener
from node.metrics import Metrics
from node.readiness import Readiness
from node.request_auth import Authentication, StaffRequest
from node.staff import StaffMember
from node.status import Health

THREADS = 8


class SilentStaff:
    """A register of staff whose database is silent until the test lets it answer."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.asked = threading.Semaphore(0)

    def by_token(self, token: str) -> StaffMember:
        self.asked.release()
        assert self.answers.wait(60)
        return StaffMember(staff_id=token, role="nurse")


@pytest.fixture
def staff() -> SilentStaff:
    return SilentStaff()


@pytest.fixture
def url(staff: SilentStaff, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(app_module, "REQUEST_THREADS", THREADS)
    monkeypatch.setattr(readiness, "PATIENCE_SECONDS", 0.2)
    routes = APIRouter()
    authenticated = Authentication(None, None, None, staff).staff()  # type: ignore[arg-type]

    def health() -> Health:
        assert staff.answers.wait(60)
        return Health(ready=True, problems=())

    ready = Readiness(health)

    @routes.get("/ready")
    async def is_ready() -> Health:
        return await ready.health()

    @routes.get("/members")
    def members() -> str:
        return "members"

    @routes.post("/staff/reads")
    @routes.post("/staff/publications")
    @routes.post("/staff/registrations")
    def read(request: StaffRequest = Depends(authenticated)) -> str:
        return request.staff.staff_id

    listener = Listener(create_app([routes], Metrics()), "127.0.0.1", 0)
    listener.start()
    yield f"http://127.0.0.1:{listener.port}"
    staff.answers.set()
    listener.stop()


def test_callers_who_wait_for_the_database_hold_no_thread_of_those_who_do_not(url, staff):
    def ask(path: str) -> int:
        headers = {"Authorization": "Bearer token"}
        return httpx.post(url + path, content=b"x", headers=headers, timeout=60, trust_env=False).status_code

    with ThreadPoolExecutor(30) as pool:
        asked = [
            pool.submit(ask, path)
            for path in ("/staff/reads", "/staff/publications", "/staff/registrations")
            for _ in range(THREADS)
        ]
        for _ in range(THREADS):
            assert staff.asked.acquire(timeout=30)
        for _ in range(5):
            assert httpx.get(url + "/members", timeout=30, trust_env=False).json() == "members"
        found = Health.model_validate(httpx.get(url + "/ready", timeout=30, trust_env=False).json())
        assert not found.ready
        assert "database does not answer" in found.problems[0]
        staff.answers.set()
        assert {future.result() for future in asked} == {200}


def test_ready_again_as_soon_as_the_database_answers(url, staff):
    assert httpx.get(url + "/ready", timeout=30, trust_env=False).json()["ready"] is False
    staff.answers.set()
    wait_until(
        lambda: httpx.get(url + "/ready", timeout=30, trust_env=False).json()["ready"], "it is ready again"
    )
