"""Whether the node is ready, for anyone at any time: in a thread of its own, and never for longer than a moment."""

import asyncio
from collections.abc import Callable

import anyio
from anyio.to_thread import run_sync

from node.status import Health

PATIENCE_SECONDS = 3.0
"""How long the parts of a node may take to say how they are: whoever asks gives up soon after."""


class Readiness:
    """Answers with the health that ``look`` finds; whoever asks while a look is under way gets its outcome."""

    def __init__(self, look: Callable[[], Health]) -> None:
        self._look = look
        self._thread = anyio.CapacityLimiter(1)
        self._looking: asyncio.Task[Health] | None = None

    async def health(self) -> Health:
        """How the node is now. To be asked in one event loop."""
        if self._looking is None or self._looking.done():
            look = run_sync(self._look, limiter=self._thread, abandon_on_cancel=True)
            self._looking = asyncio.get_running_loop().create_task(look)
        looking = self._looking
        done, _ = await asyncio.wait({looking}, timeout=PATIENCE_SECONDS)
        if done:
            return looking.result()
        return Health(
            ready=False,
            problems=(f"the database does not answer within {PATIENCE_SECONDS:.0f} s: look at it",),
        )
