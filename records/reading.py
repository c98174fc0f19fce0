"""JSON bytes to a bundle whose parts remember where in the input they stand.

The input is parsed twice, each time in C: ``orjson`` is the strict gate (grammar, UTF-8, no NaN, no lone
surrogate, numbers in range), then the standard library's scanner yields values *and* their ends, so that a
resource can be sliced out with its decimals and escapes untouched.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from records.errors import InputTooLargeError, InvalidBundleError, Issue, NotFhirError
from records.limits import InputLimits
from records.wording import json_type, shown_code, shown_name

Json = dict[str, Any]

_SPACE = re.compile(r"[ \t\n\r]*")
_FORBIDDEN_ESCAPE = re.compile(r"\\(?:[bf]|u00(?:0[0-8bcefBCEF]|1[0-9a-fA-F]))")
_FORBIDDEN_CHARACTER = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One ``Bundle.entry``: its values, and the source text of each member (``resource``, ``fullUrl``, ...)."""

    value: Json
    source: dict[str, str]

    @property
    def resource(self) -> Json:
        """The resource of this entry (validated before anyone asks)."""
        resource: Json = self.value["resource"]
        return resource


@dataclass(frozen=True, slots=True)
class SourceBundle:
    """A parsed bundle: its members but ``entry``, the source text of each, and its entries."""

    value: Json
    source: dict[str, str]
    entries: tuple[SourceEntry, ...]


def read_bundle(raw: bytes, limits: InputLimits) -> SourceBundle:
    """Parse the bytes of a FHIR Bundle strictly.

    Raises:
        InputTooLargeError: more bytes or deeper nesting than ``limits`` allows.
        NotFhirError: no UTF-8, no JSON (RFC 8259), a key that occurs twice, or not a Bundle.
        InvalidBundleError: a Bundle whose ``entry`` is no array of objects, or a string with control
            characters (FHIR R4, 2.24.0.1).
    """
    text = _checked_text(raw, limits)
    try:
        return _scan_bundle(text)
    except RecursionError:
        raise _too_deep(limits) from None
    except _DuplicateKeyError:
        raise NotFhirError(_duplicate_key_message(text)) from None


def parse_json(raw: bytes, limits: InputLimits) -> Any:
    """Parse any JSON under the limits; decimals come as the text in which they were written (:class:`str`).

    Raises:
        InputTooLargeError: more bytes or deeper nesting than ``limits`` allows.
        NotFhirError: no UTF-8 or no JSON.
    """
    text = _checked_text(raw, limits)
    try:
        return json.loads(text, parse_float=str, parse_int=str)
    except RecursionError:
        raise _too_deep(limits) from None


def _checked_text(raw: bytes, limits: InputLimits) -> str:
    """The input as text, once size, encoding, grammar and depth are known to be right."""
    if len(raw) > limits.size_bytes:
        raise InputTooLargeError(
            f"expected at most {limits.size_bytes} bytes; came {len(raw)}: split the history into several bundles"
        )
    if raw.startswith(b"\xef\xbb\xbf"):
        raise NotFhirError(
            "expected JSON that begins with '{'; came a byte order mark (EF BB BF), which RFC 8259 forbids: "
            "save the file as UTF-8 without it"
        )
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotFhirError(f"expected UTF-8; byte {error.start} is not: save the file as UTF-8") from None
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        fault = error.msg.partition(": line ")[0]
        if fault == "depth limit exceeded":
            raise _too_deep(limits) from None
        raise NotFhirError(
            f"expected JSON; it is broken at line {error.lineno}, column {error.colno}: {fault}"
        ) from None
    if _is_deeper(value, limits.depth):
        raise _too_deep(limits)
    return text


def _too_deep(limits: InputLimits) -> InputTooLargeError:
    return InputTooLargeError(f"expected JSON nested at most {limits.depth} deep; came deeper nesting")


def _is_deeper(value: Any, depth: int) -> bool:
    """Whether objects and arrays are nested more than ``depth`` deep, without recursion."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(depth):
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return bool(level)


class _DuplicateKeyError(ValueError):
    """A key occurs twice in one JSON object; where is found out by ``_duplicate_key_message``."""


def _unique(pairs: list[tuple[str, Any]]) -> Json:
    """The members of a JSON object, none twice: parsers differ in which of the two they believe."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _DuplicateKeyError
    return members


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def _scan_bundle(text: str) -> SourceBundle:
    start = _skip_space(text, 0)
    if text[start] != "{":
        raise NotFhirError("expected a FHIR Bundle, a JSON object; came another JSON value")
    value: Json = {}
    source: dict[str, str] = {}
    entries: tuple[SourceEntry, ...] = ()
    position = start
    while (member := _next_member(text, position)) is not None:
        key, begin = member
        if key in source:
            raise _DuplicateKeyError
        if key == "entry" and text[begin] == "[":
            entries, position = _scan_entries(text, begin)
            source[key] = ""
        else:
            value[key], position = _DECODER.raw_decode(text, begin)
            source[key] = text[begin:position]
    resource_type = value.get("resourceType")
    if resource_type is None:
        raise NotFhirError('expected a FHIR Bundle; came a JSON object without "resourceType"')
    if resource_type != "Bundle":
        raise NotFhirError(
            f"expected a FHIR Bundle; came {shown_code(resource_type)}: put the resource into a Bundle "
            "together with its Patient"
        )
    if "entry" in value:
        raise InvalidBundleError((Issue("Bundle.entry", "an array", json_type(value["entry"])),))
    return SourceBundle(value, source, entries)


def _scan_entries(text: str, begin: int) -> tuple[tuple[SourceEntry, ...], int]:
    """The entries of the array that begins at ``begin``, and the position after it."""
    entries: list[SourceEntry] = []
    position = _skip_space(text, begin + 1)
    while text[position] != "]":
        if text[position] != "{":
            came, _ = _DECODER.raw_decode(text, position)
            location = f"Bundle.entry[{len(entries)}]"
            raise InvalidBundleError((Issue(location, "an object", json_type(came)),))
        entry, position = _scan_entry(text, position)
        entries.append(entry)
        position = _skip_space(text, position)
        if text[position] == ",":
            position = _skip_space(text, position + 1)
    return tuple(entries), position + 1


def _scan_entry(text: str, position: int) -> tuple[SourceEntry, int]:
    value: Json = {}
    source: dict[str, str] = {}
    while (member := _next_member(text, position)) is not None:
        key, begin = member
        if key in source:
            raise _DuplicateKeyError
        value[key], position = _DECODER.raw_decode(text, begin)
        source[key] = text[begin:position]
    return SourceEntry(value, source), _after_object(text, position)


def _next_member(text: str, position: int) -> tuple[str, int] | None:
    """The key after ``position`` (an opening brace, or the end of a value) and where its value begins.

    The grammar has been checked, so that only well-formed text is met here.
    """
    position = _skip_space(text, position)
    if text[position] in "{,":
        position = _skip_space(text, position + 1)
    if text[position] == "}":
        return None
    key, position = _DECODER.raw_decode(text, position)
    return key, _skip_space(text, _skip_space(text, position) + 1)


def _after_object(text: str, position: int) -> int:
    """The position after the closing brace that follows the last value (or an opening brace)."""
    return text.index("}", position) + 1


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _duplicate_key_message(text: str) -> str:
    """Where a key occurs twice. The slow way, taken only when it is known that one does."""
    pending: list[tuple[str, Any]] = [("", json.loads(text, object_pairs_hook=_Members))]
    while pending:
        location, value = pending.pop()
        if isinstance(value, _Members):
            seen: set[str] = set()
            for key, child in value.pairs:
                place = f"{location}.{shown_name(key)}" if location else shown_name(key)
                if key in seen:
                    return f"expected each key once in an object; {place} occurs twice"
                seen.add(key)
                pending.append((place, child))
        elif isinstance(value, list):
            pending.extend((f"{location}[{index}]", child) for index, child in enumerate(value))
    return "expected each key once in an object; one occurs twice"


class _Members:
    """The members of a JSON object as they were written, twice or not."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self.pairs = pairs


def control_character_fault(source: str, value: Any) -> bool:
    """Whether a string in ``value`` holds a character that FHIR forbids (below U+0020 but tab, CR, LF).

    ``source`` is the text that ``value`` was parsed from; it tells quickly that there is none.
    """
    if _FORBIDDEN_ESCAPE.search(source) is None:
        return False
    return any(_FORBIDDEN_CHARACTER.search(string) for string in _strings(value))


def _strings(value: Any) -> Iterator[str]:
    pending = [value]
    while pending:
        node = pending.pop()
        if isinstance(node, str):
            yield node
        elif isinstance(node, dict):
            pending.extend(node.keys())
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
