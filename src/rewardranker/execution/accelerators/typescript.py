"""TypeScript programs compiled by a compiler that stays warm (`sandbox/servers/typescript.mjs`), run as JavaScript.

Needs the npm package `typescript`, version 7: the one behind the `tsc` that was found.

Not guaranteed: an answer for every program. What the warm compiler can't say, plain tsc decides.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rewardranker.execution.accelerators import javascript
from rewardranker.execution.languages import Toolchain

_SERVER = Path(__file__).parents[1] / "sandbox" / "servers" / "typescript.mjs"
_INTERFACE = ("dist/api/sync/api.js", "lib/getExePath.js")
_MEMORY_MB = 1024
_REQUESTS = 300


def accelerate(found: Toolchain, memory_mb: int) -> dict[str, Any]:
    """Overrides of the worker's toolchain fields; none where the compiler is another one.

    Args:
        memory_mb: the program's; the compiler has its own.
    """
    package = Path(found.programs["tsc"]).resolve().parents[1]
    if not re.search(r"\btsc 7\.", found.version) or not all((package / name).is_file() for name in _INTERFACE):
        return {}
    return {
        **javascript.accelerate(found, memory_mb),
        "server": {
            "argv": [found.programs["node"], "--single-threaded", str(_SERVER), str(package)],
            "environment": {"GOMAXPROCS": "2"},
            "memory_mb": _MEMORY_MB,
            "requests": _REQUESTS,
        },
    }
