"""How much of a stranger's input is read before it is refused."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InputLimits:
    """Limits that are checked before, or while, an input is parsed.

    ``depth`` counts nested JSON objects and arrays; a deep but real FHIR bundle stays below 30.
    """

    size_bytes: int = 32 * 2**20
    depth: int = 100

    def __post_init__(self) -> None:
        if self.size_bytes < 1 or not 1 <= self.depth <= 200:
            raise ValueError(
                f"expected size_bytes >= 1 and depth in 1..200; came {self.size_bytes} and {self.depth}"
            )


DEFAULT_LIMITS = InputLimits()
