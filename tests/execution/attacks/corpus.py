"""The corpus of programs that cheat or harm a judge: what an attack is, and all of them.

Each program has one property. Each is shown to fool or to harm a naive judge (`naive.py`) before it is used against
the project's own, so that none is there only because it fails everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field

LEVELS = ("namespaces", "landlock", "rlimits")
"""Isolation levels, strongest first (A, B, C)."""

SECRET = 918273645
"""The answer that the tests of most attacks expect: no program can guess it."""

TESTS = (f"assert f(1) == {SECRET}", "assert f(2) == 'two'")
HONEST = f"def f(x):\n    return [None, {SECRET}, 'two'][x]\n"


@dataclass(frozen=True)
class Attack:
    """A program that wants what it should not have.

    Words between `@` in `program` stand for things of the scene it runs in (see `scene.py`): `@TOKEN@` is a name of
    its own, `@PRIVATE@` a file that only the judge's user may read, and so on.
    """

    name: str
    kind: str
    why: str
    """Why it works on a naive judge."""
    program: str
    harm: str = ""
    """Empty: it wants to pass. Otherwise the probe of `scene.py` that tells whether it did harm."""
    naive: str = "exec_in_child"
    """The judge of `naive.py` that it fools or harms."""
    language: str = "python"
    tests: str | tuple[str, ...] = TESTS
    inputs: tuple[tuple[str, str], ...] = ()
    level: str = "rlimits"
    """The weakest level that promises to stop it, whoever starts the judge; `none`: no level does yet."""
    as_root: str = ""
    """The same where root starts the judge, so that programs have a user of their own; empty: as `level`."""
    sleeps: bool = False
    """It lasts until the bound on the wall clock."""
    slow: bool = False
    """It costs seconds of a compiler's time: not for every run of the tests."""
    statuses: frozenset[str] = field(default_factory=frozenset)
    """Words that its verdict may have; empty: any that is not `passed`."""

    def promised(self, level: str, root: bool) -> bool:
        """Whether a judge at this level, started by root or not, says that it stops this."""
        weakest = (root and self.as_root) or self.level
        return weakest != "none" and LEVELS.index(level) <= LEVELS.index(weakest)


def python_attacks() -> list[Attack]:
    from attacks import python_cheating, python_harmful

    return [*python_cheating.ATTACKS, *python_harmful.ATTACKS]


def compiled_attacks() -> list[Attack]:
    from attacks import other_languages

    return list(other_languages.ATTACKS)
