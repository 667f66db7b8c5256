"""Sample many programs, let a trained reranker pick the best.

The public names below are imported when they are first used, so `import rewardranker` costs a few milliseconds and
never loads torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rewardranker.evaluation import evaluate
    from rewardranker.execution import judge
    from rewardranker.generation import sample
    from rewardranker.preference import build_groups as build_preferences
    from rewardranker.reward import RewardRanker
    from rewardranker.tasks import load_tasks
    from rewardranker.types import (
        Candidate,
        PreferenceGroup,
        Ranking,
        Sample,
        StdioTest,
        Task,
        Verdict,
    )

_PUBLIC = {
    "RewardRanker": "reward:RewardRanker",
    "load_tasks": "tasks:load_tasks",
    "sample": "generation:sample",
    "judge": "execution:judge",
    "build_preferences": "preference:build_groups",
    "evaluate": "evaluation:evaluate",
    "Task": "types:Task",
    "StdioTest": "types:StdioTest",
    "Sample": "types:Sample",
    "Verdict": "types:Verdict",
    "Candidate": "types:Candidate",
    "PreferenceGroup": "types:PreferenceGroup",
    "Ranking": "types:Ranking",
}

__all__ = [
    "Candidate",
    "PreferenceGroup",
    "Ranking",
    "RewardRanker",
    "Sample",
    "StdioTest",
    "Task",
    "Verdict",
    "__version__",
    "build_preferences",
    "evaluate",
    "judge",
    "load_tasks",
    "sample",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("rewardranker")
    elif name in _PUBLIC:
        module, _, attribute = _PUBLIC[name].partition(":")
        value = getattr(import_module(f"rewardranker.{module}"), attribute)
    else:
        raise AttributeError(f"module 'rewardranker' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
