"""The gate: every request takes its place in a lane (``node.lanes``), or is told when to come again.

``/health`` and ``/ready`` have no lane: they answer under any load.
"""

import re
from collections.abc import Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from node.lanes import TICKET, Busy, Lane
from node.lingering import REFUSED
from node.problems import answer_problem

_UNBOUNDED = re.compile(r"(GET|HEAD) /(health|ready)$")


class Admission:
    """ASGI middleware: every request takes its place in a lane, or is told when to come again."""

    def __init__(self, app: ASGIApp, lanes: Sequence[Lane]) -> None:
        self._app = app
        self._lanes = tuple((re.compile(lane.bounds.pattern), lane) for lane in lanes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI 3 has it."""
        lane = self._lane_of(scope)
        if lane is None:
            await self._app(scope, receive, send)
            return
        try:
            ticket = lane.enter(str((scope.get("client") or ("",))[0]))
        except Busy as refusal:
            await answer_problem(scope, receive, send, refusal)
            return

        async def send_giving_back(message: Message) -> None:
            # Before it is sent: a client that does not read its answer, or the rest of a refused body that is waited
            # for, must hold nothing that others wait for.
            if message["type"] == "http.response.start" and (
                message["status"] >= REFUSED or not lane.bounds.until_sent
            ):
                ticket.give_back()
            await send(message)

        try:
            if lane.bounds.from_start:
                try:
                    await ticket.begin_work()
                except Busy as refusal:
                    await answer_problem(scope, receive, send_giving_back, refusal)
                    return
            scope[TICKET] = ticket
            await self._app(scope, receive, send_giving_back)
        finally:
            ticket.leave()

    def _lane_of(self, scope: Scope) -> Lane | None:
        if scope["type"] != "http":
            return None
        named = f"{scope['method']} {scope['path']}"
        if _UNBOUNDED.match(named):
            return None
        return next((lane for pattern, lane in self._lanes if pattern.match(named)), None)
