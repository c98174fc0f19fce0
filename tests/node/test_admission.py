"""Back-pressure: every kind of request has bounds of its own, the rest is told when to come again."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest
from fastapi import APIRouter, Depends

from node import app as app_module
from node import http_protocol, request_body
from node.app import create_app
from node.lanes import LANES, REQUEST_THREADS, Busy, Lane, LaneBounds
from node.listener import Listener
from node.metrics import Metrics
from node.request_body import body_reader

WAIT_SECONDS = 60.0
TINY = (
    LaneBounds("strangers", r"\w+ /registrations", 1, 1, 0.3, body_bytes=1000, per_address=2),
    LaneBounds("work", r"\w+ /work", 2, 2, 2 * WAIT_SECONDS, body_bytes=5000),
    LaneBounds("public", r"", 1, 1, 0.3, from_start=True),
)


class Gate:
    """Routes whose work goes on until the test opens the gate."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.inside = threading.Semaphore(0)
        self.metrics = Metrics()
        self.routes = APIRouter()
        read = body_reader(4000)

        @self.routes.post("/work")
        @self.routes.post("/registrations")
        def work(body: bytes = Depends(read)) -> int:
            self.inside.release()
            assert self.open.wait(2 * WAIT_SECONDS)
            return len(body)

        @self.routes.get("/ready")
        def ready() -> str:
            return "ready"

        @self.routes.get("/members")
        def members() -> str:
            self.inside.release()
            assert self.open.wait(2 * WAIT_SECONDS)
            return "members"


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def url(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(app_module, "LANES", TINY)
    listener = Listener(create_app([gate.routes], gate.metrics), "127.0.0.1", 0)
    listener.start()
    yield f"http://127.0.0.1:{listener.port}"
    gate.open.set()
    listener.stop()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as made:
        yield made


def post(url: str, path: str, body: bytes = b"x") -> httpx.Response:
    return httpx.post(url + path, content=body, timeout=2 * WAIT_SECONDS, trust_env=False)


def get(url: str, path: str) -> httpx.Response:
    return httpx.get(url + path, timeout=2 * WAIT_SECONDS, trust_env=False)


def under_way(gate: Gate, lane: str) -> float:
    return gate.metrics.registry.get_sample_value("phr_requests_under_way", {"lane": lane}) or 0.0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        threading.Event().wait(0.005)


def answered(futures: list[Future[httpx.Response]]) -> list[int]:
    return [future.result().status_code for future in futures if future.done()]


def test_requests_beyond_a_lanes_bounds_get_429_with_retry_after_and_the_others_end_well(url, gate, pool):
    first = [pool.submit(post, url, "/work") for _ in range(4)]
    wait_until(lambda: under_way(gate, "work") == 4)
    refused = post(url, "/work")
    assert (refused.status_code, refused.json()["code"]) == (429, "busy")
    assert 1 <= int(refused.headers["Retry-After"]) <= 30
    gate.open.set()
    assert [future.result().status_code for future in first] == [200] * 4
    wait_until(lambda: under_way(gate, "work") == 0)
    assert post(url, "/work").status_code == 200


def test_no_more_than_the_bound_are_worked_on_at_once(url, gate, pool):
    futures = [pool.submit(post, url, "/work") for _ in range(4)]
    for _ in range(2):
        assert gate.inside.acquire(timeout=WAIT_SECONDS)
    wait_until(lambda: under_way(gate, "work") == 4)
    assert not gate.inside.acquire(timeout=0.1)
    gate.open.set()
    assert all(future.result().status_code == 200 for future in futures)


def test_flood_of_strangers_leaves_members_and_health_alone(url, gate, pool):
    flood = [pool.submit(post, url, "/registrations") for _ in range(10)]
    wait_until(lambda: under_way(gate, "strangers") == 1)
    member = pool.submit(post, url, "/work")
    assert get(url, "/ready").status_code == 200
    wait_until(lambda: answered(flood) == [429] * 9)
    gate.open.set()
    assert member.result().status_code == 200
    assert sorted(future.result().status_code for future in flood) == [200] + [429] * 9


def test_health_answers_while_every_lane_is_full(url, gate, pool):
    busy = [pool.submit(post, url, path) for path in ("/work", "/registrations") for _ in range(4)]
    busy += [pool.submit(get, url, "/members") for _ in range(4)]
    wait_until(lambda: under_way(gate, "work") == 4)
    for _ in range(20):
        assert get(url, "/ready").status_code == 200
    # Of the lanes that let one wait, all but the one that is worked on.
    wait_until(lambda: answered(busy) == [429] * 6)
    assert get(url, "/ready").status_code == 200
    gate.open.set()
    assert {future.result().status_code for future in busy} == {200, 429}


def test_request_that_gets_no_turn_in_time_is_told_when_to_come_again(url, gate, pool):
    busy = pool.submit(get, url, "/members")
    assert gate.inside.acquire(timeout=WAIT_SECONDS)
    late = get(url, "/members")
    assert (late.status_code, "no turn" in late.json()["detail"]) == (429, True)
    gate.open.set()
    assert busy.result().status_code == 200


def test_bodies_that_take_too_much_together_are_refused_and_their_room_comes_back(url, gate, pool):
    large = pool.submit(post, url, "/work", b"x" * 4000)
    assert gate.inside.acquire(timeout=WAIT_SECONDS)
    refused = post(url, "/work", b"x" * 2000)
    assert (refused.status_code, "bodies" in refused.json()["detail"]) == (429, True)
    gate.open.set()
    assert large.result().status_code == 200
    # A body's room comes back when its answer is out, which its sender may know first.
    wait_until(lambda: post(url, "/work", b"x" * 4000).status_code == 200)


def test_attack_bodies_that_dribble_are_cut_off_and_hold_no_turn(url, gate, pool, monkeypatch):
    monkeypatch.setattr(request_body, "GRACE_SECONDS", 3.0)

    def dribble() -> Iterator[bytes]:
        for _ in range(1000):
            yield b"x"
            threading.Event().wait(0.05)

    def send() -> int:
        try:
            return httpx.post(url + "/work", content=dribble(), timeout=30, trust_env=False).status_code
        except httpx.HTTPError:
            return 0

    slow = [pool.submit(send) for _ in range(2)]
    wait_until(lambda: under_way(gate, "work") == 2)
    gate.open.set()
    assert post(url, "/work").status_code == 200
    assert all(future.result() in (0, 400) for future in slow)
    wait_until(lambda: under_way(gate, "work") == 0)


def test_connection_beyond_the_bound_takes_the_place_of_the_one_that_idles_longest(url, monkeypatch):
    monkeypatch.setattr(http_protocol, "CONNECTIONS", 20)
    address = httpx.URL(url)
    import socket

    idle = [socket.create_connection((address.host, address.port), timeout=WAIT_SECONDS) for _ in range(60)]
    try:
        for _ in range(10):
            assert get(url, "/ready").status_code == 200
        idle[0].settimeout(WAIT_SECONDS)
        assert idle[0].recv(1) == b""
    finally:
        for connection in idle:
            connection.close()


def test_lanes_together_leave_threads_for_health():
    assert sum(bounds.at_once for bounds in LANES) <= REQUEST_THREADS - 16


@pytest.mark.parametrize(
    ("request_line", "lane"),
    [
        ("POST /staff/publications", "publish"),
        ("GET /staff/publications/abc", "staff"),
        ("POST /staff/records/0x00/correction", "publish"),
        ("PUT /staff/files/00", "files"),
        ("POST /staff/files", "staff"),
        ("POST /staff/reads", "reads"),
        ("GET /staff/downloads/00", "downloads"),
        ("GET /staff/downloads/00/outcome", "staff"),
        ("GET /staff/status", "operator"),
        ("GET /metrics", "operator"),
        ("POST /custody/releases", "releases"),
        ("POST /custody/deposits", "deposits"),
        ("PUT /blocks/bafy", "deposits"),
        ("GET /blocks/bafy", "blocks"),
        ("GET /patients/0x00/keyrings/1", "blocks"),
        ("GET /patients/0x00/records", "patients"),
        ("POST /relay", "patients"),
        ("POST /registrations", "strangers"),
        ("PUT /backups/0x00", "strangers"),
        ("GET /members", "public"),
        ("GET /nowhere", "public"),
    ],
)
def test_request_is_counted_in_the_lane_of_its_kind(request_line, lane):
    from node.admission import Admission

    method, path = request_line.split(" ")
    admission = Admission(None, [Lane(bounds) for bounds in LANES])
    found = admission._lane_of({"type": "http", "method": method, "path": path})
    assert found.bounds.name == lane


def test_one_address_gets_no_more_than_its_part_of_a_lane():
    lane = Lane(replace(TINY[1], per_address=2))
    first, _ = lane.enter("here"), lane.enter("here")
    with pytest.raises(Busy, match="this address"):
        lane.enter("here")
    lane.enter("there")
    first.leave()
    lane.enter("here")
    assert lane.entered == 3


def test_one_person_gets_no_more_than_their_part_of_a_lane():
    lane = Lane(replace(TINY[1], per_person=1))
    first, second, other = (lane.enter("here") for _ in range(3))
    first.count_for_person("nurse")
    other.count_for_person("physician")
    with pytest.raises(Busy, match="this person"):
        second.count_for_person("nurse")
    first.leave()
    second.count_for_person("nurse")


def test_request_that_is_answered_gives_back_all_but_its_body_and_only_once():
    async def answer() -> None:
        lane = Lane(TINY[1])
        ticket = lane.enter("here")
        ticket.take_bytes(4000)
        await ticket.begin_work()
        ticket.give_back()
        assert (lane.entered, lane.working) == (0, 0)
        with pytest.raises(Busy, match="bodies"):
            lane.enter("here").take_bytes(2000)
        ticket.leave()
        assert (lane.entered, lane.working) == (1, 0)
        lane.enter("here").take_bytes(5000)

    asyncio.run(answer())


@pytest.mark.parametrize("name", ["releases", "deposits", "patients", "strangers", "public"])
def test_one_address_cannot_fill_a_lane_whose_callers_are_not_proven_yet(name):
    bounds = next(bounds for bounds in LANES if bounds.name == name)
    assert bounds.per_address is not None
    assert bounds.per_address <= (bounds.at_once + bounds.waiting) // 2


def test_lane_asks_to_come_again_after_what_the_others_usually_take():
    async def refuse(seconds: float) -> int:
        clock = [0.0]
        lane = Lane(replace(TINY[1], wait_seconds=1.0), lambda: clock[0])
        for _ in range(60):
            ticket = lane.enter("somewhere")
            await ticket.begin_work()
            clock[0] += seconds
            ticket.leave()
        for _ in range(4):
            lane.enter("somewhere")
        with pytest.raises(Busy) as refused:
            lane.enter("somewhere")
        return refused.value.retry_after_seconds or 0

    assert asyncio.run(refuse(0.01)) == 1
    assert 9 <= asyncio.run(refuse(5.0)) <= 10
    assert asyncio.run(refuse(1000.0)) == 30
