"""JavaScript programs run in one warm node, each in a realm of its own (`sandbox/servers/realms.js`).

Needs a node that makes realms without an object of its own realm in them (20.18, or 22.8 and later).

Not guaranteed: an answer for every program. What the warm node can't say, a fresh one decides.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rewardranker.execution.languages import Toolchain

_SERVER = Path(__file__).parents[1] / "sandbox" / "servers" / "realms.js"
_FLAGS = ("--jitless", "--no-expose-wasm", "--single-threaded", "--disallow-code-generation-from-strings")
"""No compiler of machine code: nothing else would be slower here, and it is where V8's faults mostly are. No second
thread: a program could see by how deep the stack goes when the compiler was done."""
_RUNTIME_MB = 384
_REQUESTS = 300


def accelerate(found: Toolchain, memory_mb: int) -> dict[str, Any]:
    """Overrides of the worker's toolchain fields; none where node is too old.

    Args:
        memory_mb: the program's heap.
    """
    if not _has_plain_realms(found.version):
        return {}
    node = found.programs["node"]
    return {
        "run_server": {
            "argv": [node, *_FLAGS, f"--max-old-space-size={memory_mb}", str(_SERVER)],
            "environment": {},
            "memory_mb": memory_mb + _RUNTIME_MB,
            "requests": _REQUESTS,
        }
    }


def _has_plain_realms(versions: str) -> bool:
    """Whether `vm.constants.DONT_CONTEXTIFY` is there."""
    found = re.search(r"\bnode(?:js)? (\d+)\.(\d+)", versions)
    if found is None:
        return False
    version = (int(found[1]), int(found[2]))
    return version >= (22, 8) or (20, 18) <= version < (21, 0)
