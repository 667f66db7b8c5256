"""Faster ways to build and run programs of a language, with the same verdicts.

Each module gives overrides of `sandbox.toolchain.Toolchain`'s fields; a machine that lacks what it needs gives none.
"""

from __future__ import annotations

import importlib
from typing import Any

from rewardranker.execution.languages import Toolchain

_MODULES = {"cpp": "cpp", "go": "go", "java": "java", "js": "javascript", "scala": "scala", "ts": "typescript"}
"""Language code -> module here."""


def accelerate(found: Toolchain, memory_mb: int) -> dict[str, Any]:
    """Overrides of the worker's toolchain fields.

    Args:
        memory_mb: what the program may use beside its runtime.

    Raises:
        SandboxError: what is made once for this machine can't be made.
    """
    name = _MODULES.get(found.language.code)
    if name is None:
        return {}
    overrides: dict[str, Any] = importlib.import_module(f"{__name__}.{name}").accelerate(found, memory_mb)
    return overrides
