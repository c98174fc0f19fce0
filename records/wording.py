"""How input is named in messages: enough to find a fault, too little to name a person."""

import re
from collections.abc import Sequence
from typing import Any

_ELEMENT_NAME = re.compile(r"_?[A-Za-z][A-Za-z0-9]{0,63}")
_CODE = re.compile(r"[A-Za-z0-9./-]{1,32}")


def json_type(value: Any) -> str:
    """The kind of a JSON value, with the length of a string or array, never the value itself."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return f"a string of {len(value)} characters"
        case list():
            return f"an array of {len(value)}"
    return "an object"


def shown_code(value: Any) -> str:
    """A value where a code belongs: quoted if it looks like one, else only its kind."""
    return f"'{value}'" if isinstance(value, str) and _CODE.fullmatch(value) else json_type(value)


def shown_name(name: str) -> str:
    """A JSON key: as it is if it can be an element's name, else a placeholder."""
    return name if _ELEMENT_NAME.fullmatch(name) else "(no element name)"


def fhir_path(root: str, path: Sequence[str | int]) -> str:
    """A location as FHIRPath writes it: ``Bundle.entry[3].resource.status``."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{shown_name(step)}" for step in path)
    return root + "".join(steps)
