"""Memory of a process that `ppo.py` compares: measured alike on both sides, with nothing but the standard library."""

from __future__ import annotations

from pathlib import Path


class Memory:
    """Made when all libraries are imported and no model is loaded; MiB of resident memory, as Linux counts it."""

    def __init__(self):
        self._baseline = _status("VmRSS")

    def figures(self):
        """`baseline_mib`, `peak_mib`, and `memory_mib`: the peak above the baseline."""
        peak = _status("VmHWM")
        return {"baseline_mib": self._baseline, "peak_mib": peak, "memory_mib": peak - self._baseline}


def _status(name):
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {name}")
