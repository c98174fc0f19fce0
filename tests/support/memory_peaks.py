"""How far the memory of processes rises above what they held when the measuring began (Linux)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_RESET_PEAK = "5"
"""proc(5), clear_refs: the peak becomes what is resident now."""


@dataclass
class Growth:
    """Peaks over the resident memory at the beginning, in MiB, in the order of the processes."""

    growth_mib: list[int] = field(default_factory=list)
    peaks_mib: list[int] = field(default_factory=list)


@contextmanager
def measured_growth(pids: Sequence[int]) -> Iterator[Growth]:
    """Measures from the start of the block to its end."""
    found = Growth()
    before = [_resident_kib(pid, "VmRSS") for pid in pids]
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)
    yield found
    peaks = [_resident_kib(pid, "VmHWM") for pid in pids]
    found.peaks_mib = [peak // 1024 for peak in peaks]
    found.growth_mib = [(peak - resident) // 1024 for peak, resident in zip(peaks, before, strict=True)]


def _resident_kib(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(name)))
