"""Opens the judge that the options ask for: on this machine or on Ray, with or without a verdict cache."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rewardranker.config import JudgeOptions
from rewardranker.execution.cache import CachedJudge, VerdictCache
from rewardranker.execution.judge import ProgramJudge
from rewardranker.types import Judge


@contextlib.contextmanager
def open_judge(options: JudgeOptions, workers: int | None = None, executor: str = "local") -> Iterator[Judge]:
    """
    Args:
        workers: judge processes, with `ray` on each node; None: one for each processor.
        executor: `local` or `ray`.

    Raises:
        MissingExtraError: `ray` is asked for and not installed.
        SandboxError: the judge does not start.
        DataError: `options.cache` is a file that is no verdict cache.
        RunDirectoryError: the cache can't be opened.
    """
    with contextlib.ExitStack() as stack:
        cache = stack.enter_context(VerdictCache(options.cache)) if options.cache else None
        judge: Judge
        if executor == "ray":
            from rewardranker.execution.ray_executor import RayJudge

            judge = stack.enter_context(RayJudge(options, workers))
        else:
            judge = stack.enter_context(ProgramJudge(options, workers))
        yield judge if cache is None else CachedJudge(judge, cache, options)
