"""Which entry of a bundle a reference points to (FHIR R4, 2.36.4: resolving references in bundles)."""

import re
from collections.abc import Sequence

from records.reading import SourceEntry

_RELATIVE = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}")
_RESTFUL = re.compile(r"(?:(?P<base>.*)/)?(?P<relative>(?P<type>[A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64})", re.S)


def named_type(target: str) -> str | None:
    """The resource type that a literal reference names (``http://x/Patient/1`` names Patient), if any."""
    match = _RESTFUL.fullmatch(target)
    return match["type"] if match else None


class References:
    """The entries of one bundle by fullUrl and by ``Type/id``."""

    def __init__(self, entries: Sequence[SourceEntry]) -> None:
        self._by_url: dict[str, int] = {}
        self._by_relative: dict[str, int | None] = {}
        """None: several entries could be meant."""
        self._base: list[str | None] = []
        self._resolved: dict[tuple[str, str | None], int | None] = {}
        for index, entry in enumerate(entries):
            full_url = entry.value.get("fullUrl")
            base = None
            if isinstance(full_url, str):
                self._by_url[full_url] = index
                match = _RESTFUL.fullmatch(full_url)
                if match and match["base"]:
                    base = match["base"]
                    self._add_relative(match["relative"], index)
            self._base.append(base)
            if "id" in entry.resource:
                relative = f"{entry.resource['resourceType']}/{entry.resource['id']}"
                self._add_relative(relative, index)

    def _add_relative(self, relative: str, index: int) -> None:
        self._by_relative[relative] = index if self._by_relative.get(relative, index) == index else None

    def resolve(self, target: str, referrer: int) -> int | None:
        """The index of the entry that ``target`` points to, as seen from the entry ``referrer``.

        ``target`` has no version part. None: not in this bundle, or several could be meant.
        """
        key = (target, self._base[referrer])
        if key not in self._resolved:
            self._resolved[key] = self._resolve(*key)
        return self._resolved[key]

    def _resolve(self, target: str, base: str | None) -> int | None:
        """As ``resolve``, for a referrer with the base URL ``base``: the same asks again and again."""
        target = target.partition("#")[0]
        found = self._by_url.get(target)
        if found is not None or not _RELATIVE.fullmatch(target):
            return found
        if base is not None and (found := self._by_url.get(f"{base}/{target}")) is not None:
            return found
        return self._by_relative.get(target)
