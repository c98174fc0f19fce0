"""JSON files of a network's directory. orjson refuses deep nesting, where the standard library may crash (ADR 0090)."""

from pathlib import Path
from typing import Any

LIMIT_BYTES = 1024 * 1024


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is larger than ``LIMIT_BYTES``, no JSON, or no object.
    """
    import orjson

    with path.open("rb") as file:
        raw = file.read(LIMIT_BYTES + 1)
    if len(raw) > LIMIT_BYTES:
        raise ValueError(f"expected at most {LIMIT_BYTES} bytes; came more")
    document = orjson.loads(raw)
    if not isinstance(document, dict):
        raise ValueError(f"expected a JSON object; came a {type(document).__name__}")
    return document


def json_bytes(document: dict[str, Any]) -> bytes:
    """A document as a file for people: indented, UTF-8, a line's end at the end."""
    import orjson

    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
