"""The run directory of a launch: the main process holds and writes it, all processes see the same and decide alike.

A stage is done by the main process while the others wait, or by all together where they share the work (trainings,
sampling). Started alone, a command has the plain `RunDirectory`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rewardranker import processes
from rewardranker.runs import RunDirectory


class SharedRunDirectory(RunDirectory):
    """A `RunDirectory` that all processes of a launch enter; each must call the same stages in the same order."""

    def __init__(self, path: str | Path, command: str, options: Mapping[str, Any]) -> None:
        super().__init__(path, command, options)
        self.manifest = {}

    def __enter__(self) -> SharedRunDirectory:
        processes.on_main(lambda: super(SharedRunDirectory, self).__enter__() and None)
        self.manifest = processes.from_main(self.manifest)
        return self

    def __exit__(self, *exception: object) -> None:
        if processes.is_main():
            super().__exit__(*exception)

    def stage(self, name: str, work: Callable[[], Mapping[str, Any] | None], together: bool = False) -> dict[str, Any]:
        """As `RunDirectory.stage`.

        Args:
            together: every process does its part of `work`; else the main one does all of it. The figures are the main
                process's.
        """
        if self.stage_is_done(name):
            return self.figures(name)
        if together:
            if processes.is_main():
                super().stage(name, work)
            else:
                work()
        else:
            processes.on_main(lambda: super(SharedRunDirectory, self).stage(name, work) and None)
        self.manifest = processes.from_main(self.manifest)
        return self.figures(name)
