"""Whether the node is ready, for anyone at any time: in a thread of its own, and never for longer than a moment."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from node.status import Health

PATIENCE_SECONDS = 3.0
"""How long the parts of a node may take to say how they are: whoever asks gives up soon after."""


class Readiness:
    """Answers with the health that ``look`` finds; whoever asks while a look is under way gets its outcome."""

    def __init__(self, look: Callable[[], Health]) -> None:
        self._look = look
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="readiness")
        self._looking: Future[Health] | None = None

    async def health(self) -> Health:
        """How the node is now. To be asked in one event loop."""
        if self._looking is None or self._looking.done():
            self._looking = self._thread.submit(self._look)
        try:
            looking = asyncio.shield(asyncio.wrap_future(self._looking))
            return await asyncio.wait_for(looking, PATIENCE_SECONDS)
        except TimeoutError:
            return Health(
                ready=False,
                problems=(f"the database did not answer within {PATIENCE_SECONDS:.0f} s: look at it",),
            )
