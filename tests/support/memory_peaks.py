"""How far the memory of processes rises above what they held when the measuring began, and what they work (Linux)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_RESET_PEAK = "5"
"""proc(5), clear_refs: the peak becomes what is resident now."""


@dataclass
class Growth:
    """Peaks over the resident memory at the beginning, in MiB, in the order of the processes."""

    growth_mib: list[int] = field(default_factory=list)
    peaks_mib: list[int] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)
    """What each took of the processor, user and system: other load of the machine changes it little."""


@contextmanager
def measured_growth(pids: Sequence[int]) -> Iterator[Growth]:
    """Measures from the start of the block to its end."""
    found = Growth()
    before = [_resident_kib(pid, "VmRSS") for pid in pids]
    used = [_processor_seconds(pid) for pid in pids]
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)
    yield found
    found.processor_seconds = [
        round(_processor_seconds(pid) - seconds, 1) for pid, seconds in zip(pids, used, strict=True)
    ]
    peaks = [_resident_kib(pid, "VmHWM") for pid in pids]
    found.peaks_mib = [peak // 1024 for peak in peaks]
    found.growth_mib = [(peak - resident) // 1024 for peak, resident in zip(peaks, before, strict=True)]


def _processor_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _resident_kib(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith(name)))
