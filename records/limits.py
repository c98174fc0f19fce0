"""How much of a stranger's input is read before it is refused."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InputLimits:
    """Limits that are checked before an input is parsed, depth right after.

    ``containers`` counts opening brackets and braces: an empty array takes 3 bytes of input and 60 of memory. A
    real bundle has one in 60 bytes. ``depth`` counts nested JSON objects and arrays; a deep but real bundle
    stays below 30.
    """

    size_bytes: int = 32 * 2**20
    containers: int = 1_000_000
    depth: int = 100

    def __post_init__(self) -> None:
        if self.size_bytes < 1 or self.containers < 1 or not 1 <= self.depth <= 200:
            raise ValueError(
                "expected size_bytes and containers of at least 1 and depth in 1..200; "
                f"came {self.size_bytes}, {self.containers} and {self.depth}"
            )


DEFAULT_LIMITS = InputLimits()
