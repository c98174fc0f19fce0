"""Remembering the nonces of signed requests, so that a request that was heard once is not heard again."""

import time
from collections.abc import Callable

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError

from node.database import Database
from node.errors import Unauthenticated
from node.tables import request_nonces
from wire.limits import REQUEST_AGE_SECONDS
from wire.signing import VerifiedRequest

REMEMBERED_SECONDS = 4 * REQUEST_AGE_SECONDS
"""Longer than a request is taken at all, however far apart two clocks are that still understand each other."""


class NonceMemory:
    """Nonces in the database: a restart forgets none."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def remember(self, request: VerifiedRequest) -> None:
        """Takes note of a request's nonce.

        Raises:
            Unauthenticated: it was used before by the same key: the request is a replay.
        """
        row = {"key_id": request.caller.key_id, "nonce": request.nonce, "created": request.created_seconds}
        try:
            with self._database.append() as connection:
                connection.execute(request_nonces.insert().values(**row))
        except IntegrityError:
            raise Unauthenticated(
                "this very request came before: sign a new one, with a nonce of its own", code="replayed"
            ) from None

    def prune(self) -> int:
        """Forgets the nonces of requests that are too old to be taken anyway; returns how many."""
        oldest = int(self._clock()) - REMEMBERED_SECONDS
        with self._database.append() as connection:
            return connection.execute(
                delete(request_nonces).where(request_nonces.c.created < oldest)
            ).rowcount
