"""What the programs can say: every text in their sources, with an ellipsis where a value goes."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PROJECT = Path(__file__).parents[2]
ROOMS = ("cli", "node", "ledger", "storage", "crypto", "records", "engines", "wallet", "wire")
_GO_TEXT = re.compile(r'"((?:[^"\\\n]|\\.)*)"|`([^`]*)`')
_VERB = re.compile(r"%[-+#0-9.]*[a-zA-Z]")
_PLACE = re.compile(r"\{[a-z_]*\}")


@cache
def said() -> tuple[str, ...]:
    """All texts of the Python rooms and of the Go module."""
    python = (text for room in ROOMS for path in (PROJECT / room).rglob("*.py") for text in _python(path))
    go = (text for path in (PROJECT / "chain").rglob("*.go") for text in _go(path))
    return tuple(dict.fromkeys([*python, *go]))


def can_be_said(message: str) -> bool:
    """Whether a program has this text, where both sides write an ellipsis for a value.

    An ellipsis of the message stands for anything; what is between must be in one text of the sources, in order.
    """
    pieces = [piece.strip() for piece in message.split("…")]
    wanted = [piece for piece in pieces if piece]
    pattern = re.compile(".*".join(re.escape(piece) for piece in wanted), re.DOTALL)
    return any(pattern.search(text) for text in said())


def _python(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield _PLACE.sub("…", node.value)
        elif isinstance(node, ast.JoinedStr):
            yield "".join(
                part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "…"
                for part in node.values
            )


def _go(path: Path) -> Iterator[str]:
    # Texts joined by + over lines are one message.
    source = re.sub(r'"\s*\+\s*"', "", path.read_text())
    for quoted, raw in _GO_TEXT.findall(source):
        yield _VERB.sub("…", quoted or raw)
