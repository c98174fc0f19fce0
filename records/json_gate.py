"""The strict gate for JSON of strangers: size, UTF-8, grammar, depth, keys that occur twice, control characters.

``orjson`` judges the grammar: it refuses NaN and Infinity, lone surrogates and numbers out of range, and stops
at its own depth. It keeps the last of two equal keys, so those are looked for apart.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from records.errors import InputTooLargeError, NotFhirError
from records.limits import InputLimits
from records.survey import Json
from records.wording import shown_name

_ESCAPE_BEGINNINGS = ("\\b", "\\f", "\\u00")
"""With one of these begins whatever ``_FORBIDDEN_ESCAPE`` finds; looking for them takes a tenth of the time."""
_FORBIDDEN_ESCAPE = re.compile(r"\\(?:[bf]|u00(?:0[0-8bcefBCEF]|1[0-9a-fA-F]))")
_FORBIDDEN_CHARACTER = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def parse_json(raw: bytes, limits: InputLimits) -> Any:
    """Parse any JSON under the limits; decimals come as the text in which they were written (:class:`str`).

    Raises:
        InputTooLargeError: more bytes or deeper nesting than ``limits`` allows.
        NotFhirError: no UTF-8, no JSON, or a key that occurs twice.
    """
    text = checked_text(raw, limits)
    try:
        return json.loads(text, parse_float=str, parse_int=str, object_pairs_hook=unique)
    except DuplicateKeyError:
        raise NotFhirError(duplicate_key_message(text)) from None


def checked_text(raw: bytes, limits: InputLimits) -> str:
    """The input as text, once size, encoding, grammar and depth are known to be right."""
    if len(raw) > limits.size_bytes:
        raise InputTooLargeError(
            f"expected at most {limits.size_bytes} bytes; came {len(raw)}: split the history into several bundles"
        )
    containers = raw.count(b"{") + raw.count(b"[")
    if containers > limits.containers:
        raise InputTooLargeError(
            f"expected at most {limits.containers} objects and arrays; came {containers}: split the history "
            "into several bundles"
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


class DuplicateKeyError(ValueError):
    """A key occurs twice in one JSON object; where is found out by ``duplicate_key_message``."""


def unique(pairs: list[tuple[str, Any]]) -> Json:
    """The members of a JSON object, none twice: parsers differ in which of the two they believe."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise DuplicateKeyError
    return members


def duplicate_key_message(text: str) -> str:
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


def control_character_fault(source: str | None, value: Any) -> bool:
    """Whether a string in ``value`` holds a character that FHIR forbids (below U+0020 but tab, CR, LF).

    ``source`` is the text that ``value`` was parsed from; if known, it tells quickly that there is none.
    """
    if source is not None and not _has_forbidden_escape(source):
        return False
    return any(_FORBIDDEN_CHARACTER.search(string) for string in _strings(value))


def _has_forbidden_escape(source: str) -> bool:
    return (
        "\\" in source
        and any(beginning in source for beginning in _ESCAPE_BEGINNINGS)
        and _FORBIDDEN_ESCAPE.search(source) is not None
    )


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
