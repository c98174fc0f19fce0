"""One pass over a resource: what it refers to, what it contains, how it is labelled, and what is empty."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """A FHIR Reference, or an Attachment's url: where it stands, and its value as parsed."""

    path: Path
    value: Json

    @property
    def element(self) -> str:
        """The name of the element that it stands in: ``subject``."""
        return next(str(step) for step in reversed(self.path) if isinstance(step, str))

    @property
    def target(self) -> str | None:
        """What it points to, without version: a URL, ``Type/id``, ``#id``; None for a logical reference."""
        target = self.value.get("reference", self.value.get("url"))
        return target.partition("/_history/")[0] if isinstance(target, str) else None


@dataclass(slots=True)
class Survey:
    """What one resource, with all that is contained in it, holds."""

    references: list[Reference] = field(default_factory=list)
    attachments: list[Reference] = field(default_factory=list)
    contained: list[tuple[Path, Json]] = field(default_factory=list)
    labels: list[Json] = field(default_factory=list)
    faults: list[tuple[Path, str, str]] = field(default_factory=list)
    """Path, what was expected, what came: values that FHIR's JSON format does not allow anywhere."""


_MAXIMUM_FAULTS = 1_000
"""How many faults of one resource are collected: a hostile one could hold millions."""
_INLINE_LABEL = "inline-sec-label"
PATIENT_ELEMENTS = frozenset({"subject", "patient", "beneficiary", "for"})
"""Elements of type Reference that say whose the resource is."""


def survey(resource: Json) -> Survey:
    """Walk a resource once, without recursion.

    Nothing is assumed about its structure; depth is bounded by what was parsed.
    """
    found = Survey()
    pending: list[tuple[Any, Any]] = [(resource, None)]
    while pending:
        node, link = pending.pop()
        if type(node) is dict:
            if not node and len(found.faults) < _MAXIMUM_FAULTS:
                found.faults.append((_path(link), "an object with at least one member", "an empty object"))
            for key, child in node.items():
                if type(child) is dict or type(child) is list:
                    pending.append((child, (key, link)))
                elif child is None and len(found.faults) < _MAXIMUM_FAULTS:
                    found.faults.append((_path((key, link)), "a value", "null"))
            _note(found, node, link)
        else:
            if not node and len(found.faults) < _MAXIMUM_FAULTS:
                found.faults.append((_path(link), "an array with at least one item", "an empty array"))
            for index, child in enumerate(node):
                if type(child) is dict or type(child) is list:
                    pending.append((child, (index, link)))
    found.references.reverse()
    found.contained.reverse()
    found.faults.reverse()
    return found


def _note(found: Survey, node: Json, link: Any) -> None:
    """Take from one JSON object what the survey asks for."""
    if link is not None and "reference" in node:
        found.references.append(Reference(_path(link), node))
    elif link is not None:
        element = link[0] if type(link[0]) is str else link[1][0]
        if element in PATIENT_ELEMENTS:
            found.references.append(Reference(_path(link), node))
    if "resourceType" in node and link is not None:
        found.contained.append((_path(link), node))
    if "url" in node:
        url = node["url"]
        if type(url) is str:
            if url.endswith(_INLINE_LABEL):
                label = node.get("valueCoding")
                if isinstance(label, dict):
                    found.labels.append(label)
            elif "contentType" in node or "size" in node or "hash" in node:
                found.attachments.append(Reference(_path(link), node))
    meta = node.get("meta")
    if type(meta) is dict and "security" in meta:
        found.labels.extend(label for label in _objects(meta["security"]))


def _objects(value: Any) -> Iterator[Json]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())


def _path(link: Any) -> Path:
    steps: list[str | int] = []
    while link is not None:
        step, link = link
        steps.append(step)
    return tuple(reversed(steps))


def null_faults(resource: Json) -> Iterator[tuple[Path, str, str]]:
    """Nulls in arrays that have no counterpart in the array of their extensions (FHIR R4, 2.6.2.1.1)."""
    pending: list[tuple[Any, Path]] = [(resource, ())]
    while pending:
        node, path = pending.pop()
        if isinstance(node, Mapping):
            for key, child in node.items():
                pending.append((child, (*path, key)))
                if isinstance(child, list) and None in child:
                    other = node.get(key[1:] if key.startswith("_") else f"_{key}")
                    for index, item in enumerate(child):
                        partner = other[index] if isinstance(other, list) and index < len(other) else None
                        if item is None and partner is None:
                            yield (*path, key, index), f"a value or an extension in _{key}", "null"
        elif isinstance(node, list):
            pending.extend((child, (*path, index)) for index, child in enumerate(node))
