"""The few names of numpy that EvalPlus's tests (HumanEval+, MBPP+) use, for a tester without numpy.

Those tests compare floats with `allclose` and ask whether a value is an `ndarray`; results cross as plain numbers and
lists, so nothing ever is one. Any other name of numpy makes a test `unsupported`. Unlike numpy's, this `allclose` does
not stretch a number over a list: a result of another shape is wrong.
"""

from __future__ import annotations

import math
import sys
from types import ModuleType
from typing import Any

from . import surroundings


class ndarray:
    """Has no instances."""


def allclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Whether numbers, or nested sequences of numbers, differ by at most `atol + rtol * abs(b)`.

    Raises:
        TypeError: something else is among them.
    """
    if isinstance(a, list | tuple) or isinstance(b, list | tuple):
        if not (isinstance(a, list | tuple) and isinstance(b, list | tuple)) or len(a) != len(b):
            return False
        return all(allclose(x, y, rtol, atol, equal_nan) for x, y in zip(a, b, strict=True))
    if not (isinstance(a, int | float | complex) and isinstance(b, int | float | complex)):
        raise TypeError(f"allclose of {type(a).__name__} and {type(b).__name__}")
    if a != a or b != b:
        return equal_nan and a != a and b != b
    if a == b or math.inf in (abs(a), abs(b)):
        return bool(a == b)
    return bool(abs(a - b) <= atol + rtol * abs(b))


def install() -> None:
    """Make `import numpy` find these names."""
    module = ModuleType("numpy", __doc__)
    module.__dict__.update(allclose=allclose, ndarray=ndarray, float32=float, float64=float, inf=math.inf, nan=math.nan)
    module.__dict__["__getattr__"] = _missing
    sys.modules["numpy"] = module


def _missing(name: str) -> Any:
    if not name.startswith("__"):
        surroundings.refuse(f"numpy.{name}: the tests have the standard library only")
    raise AttributeError(name)
