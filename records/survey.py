"""One pass over a resource: what it refers to, what it contains, how it is labelled, and what is empty."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Json = dict[str, Any]
Path = tuple[str | int, ...]


class Reference(NamedTuple):
    """A FHIR Reference, or an Attachment's url: where it stands, and its value as parsed."""

    path: Path
    value: Json
    element: str
    """The name of the element that it stands in: ``subject``."""
    target: str | None
    """What it points to, without version: a URL, ``Type/id``, ``#id``; None for a logical reference."""


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


_NOTED = frozenset({"reference", "resourceType", "url", "meta"})
"""Members by which ``_note`` knows an object of interest; so does it by an element of ``PATIENT_ELEMENTS``."""


_Step = tuple[Any, str | int | None, Any]
"""An object or array on the walk, its key or index in what holds it, and the step to that (a plain tuple: there
is one for each object and array of a bundle)."""


def survey(resource: Json) -> Survey:
    """Walk a resource once, without recursion.

    Nothing is assumed about its structure; depth is bounded by what was parsed.
    """
    found = Survey()
    pending: list[_Step] = [(resource, None, None)]
    while pending:
        step = pending.pop()
        node, name, parent = step
        if type(node) is dict:
            if not node:
                _note_fault(found, step, "an object with at least one member", "an empty object")
            for key, child in node.items():
                kind = type(child)
                if kind is str:
                    continue
                if kind is dict or kind is list:
                    pending.append((child, key, step))
                elif child is None:
                    _note_fault(found, (None, key, step), "a value", "null")
            element = parent[1] if type(name) is int else name
            if element in PATIENT_ELEMENTS or not _NOTED.isdisjoint(node):
                _note(found, step, element)
        else:
            if not node:
                _note_fault(found, step, "an array with at least one item", "an empty array")
            for index, child in enumerate(node):
                if type(child) is dict or type(child) is list:
                    pending.append((child, index, step))
    found.references.reverse()
    found.contained.reverse()
    found.faults.reverse()
    return found


def _note_fault(found: Survey, step: _Step, expected: str, came: str) -> None:
    if len(found.faults) < _MAXIMUM_FAULTS:
        found.faults.append((_path(step), expected, came))


def _note(found: Survey, step: _Step, element: str | int | None) -> None:
    """Take from one JSON object what the survey asks for."""
    node = step[0]
    is_root = step[2] is None
    if not is_root and ("reference" in node or element in PATIENT_ELEMENTS):
        found.references.append(_reference(step, element))
    if "resourceType" in node and not is_root:
        found.contained.append((_path(step), node))
    if "url" in node:
        url = node["url"]
        if type(url) is str:
            if url.endswith(_INLINE_LABEL):
                label = node.get("valueCoding")
                if isinstance(label, dict):
                    found.labels.append(label)
            elif "contentType" in node or "size" in node or "hash" in node:
                found.attachments.append(_reference(step, element))
    meta = node.get("meta")
    if type(meta) is dict and "security" in meta:
        found.labels.extend(label for label in _objects(meta["security"]))


def _reference(step: _Step, element: str | int | None) -> Reference:
    path, node = _path(step), step[0]
    if not isinstance(element, str):
        element = next((name for name in reversed(path) if isinstance(name, str)), "")
    target = node.get("reference", node.get("url"))
    target = target.partition("/_history/")[0] if isinstance(target, str) else None
    return Reference(path, node, element, target)


def _objects(value: Any) -> Iterator[Json]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())


def _path(step: _Step) -> Path:
    names: list[str | int] = []
    _, name, parent = step
    while name is not None:
        names.append(name)
        _, name, parent = parent
    return tuple(reversed(names))


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
