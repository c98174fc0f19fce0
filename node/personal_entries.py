"""What single people may come back for within a time, in memory: bounded for each, so that none is in another's way."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

_Value = TypeVar("_Value")


class PersonalEntries(Generic[_Value]):
    """Values by the person whose they are and by their id. Never full: beyond the bounds an old one makes room.

    That is the person's own oldest, or the oldest of whoever has most when there are too many of all people's. Safe
    between threads.
    """

    def __init__(self, clock: Callable[[], float], *, most_a_person: int, most: int) -> None:
        """``clock``: POSIX seconds."""
        self._clock = clock
        self._most_a_person, self._most = most_a_person, most
        self._lock = threading.Lock()
        self._by_person: dict[str, dict[str, tuple[float, _Value]]] = {}

    def put(self, person: str, entry_id: str, value: _Value, expires_at: float) -> None:
        """Keeps a value, instead of what had this id, until ``expires_at`` (POSIX seconds)."""
        with self._lock:
            self._drop_expired()
            own = self._by_person.setdefault(person, {})
            own.pop(entry_id, None)
            own[entry_id] = (expires_at, value)
            while len(own) > self._most_a_person:
                del own[next(iter(own))]
            if sum(map(len, self._by_person.values())) > self._most:
                most = max(self._by_person.values(), key=len)
                del most[next(iter(most))]

    def get(self, person: str, entry_id: str) -> _Value | None:
        """The person's value of this id; None when there is none (any more)."""
        with self._lock:
            expires_at, value = self._by_person.get(person, {}).get(entry_id, (0.0, None))
        return value if expires_at > self._clock() else None

    def remove(self, person: str, entry_id: str) -> None:
        """Forgets it; what is not there is no error."""
        with self._lock:
            self._by_person.get(person, {}).pop(entry_id, None)

    def _drop_expired(self) -> None:
        now = self._clock()
        kept = {
            person: {key: each for key, each in own.items() if each[0] > now}
            for person, own in self._by_person.items()
        }
        self._by_person = {person: own for person, own in kept.items() if own}
