"""`rewardranker weights`: the weights with which the rankers of an evaluation are best added."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rewardranker.cli import common
from rewardranker.errors import ConfigError, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOT_FITTED = ("oracle", "random", "first")


@click.command(short_help="Fit the weights of a sum of rankers: DIR of eval -> a ranker")
@click.argument("evaluation", type=common.PathOption, metavar="DIR")
@click.option(
    "--rankers",
    "chosen",
    metavar="RANKER,...",
    help="Those to add, the first with weight 1; default: all of DIR in its order, but oracle, random and first.",
)
def command(evaluation: Path, chosen: str | None) -> None:
    """Fit the weights with which rankers are added, on an evaluation of training or validation tasks.

    DIR is the folder of a `rewardranker eval` that measured each ranker alone. Prints what each passes alone, and their
    sum as `rank --ranker` and `eval --rankers` take it. Weights that were fitted on the tasks that a final figure is
    measured on make it too good.
    """
    from rewardranker.evaluation import collect, read_all, read_rankings, score_vector
    from rewardranker.ranking import fit_weights
    from rewardranker.types import Sample, Task, Verdict

    files = {name: evaluation / f"{name}.jsonl" for name in ("tasks", "samples", "verdicts", "rankings")}
    missing = [path.name for path in files.values() if not path.is_file()]
    if missing:
        raise DataError(
            f"{evaluation} is not the folder of `rewardranker eval ... --output` (no {', '.join(missing)}): evaluate "
            "the rankers on training or validation tasks first"
        )
    rankings = read_rankings(files["rankings"])
    names = [name.strip() for name in chosen.split(",")] if chosen else [n for n in rankings if n not in NOT_FITTED]
    _check(names, list(rankings), files["rankings"])
    tasks, samples = list(read_all(files["tasks"], Task)), list(read_all(files["samples"], Sample))
    outcomes = collect(tasks, samples, read_all(files["verdicts"], Verdict))
    n = int(outcomes.counts.min())
    passed = _table(outcomes.passed, outcomes.counts, n)
    scores = {name: _table(score_vector(outcomes, rankings[name])[0], outcomes.counts, n) for name in names}
    alone = {name: fit_weights({name: scores[name]}, passed)[1] for name in names}
    weights, together = fit_weights(scores, passed)
    width = max(map(len, names))
    click.echo(f"{len(outcomes.tasks)} tasks, {n} samples each")
    for name in names:
        click.echo(f"  {name:{width}}  weight {weights[name]:<4g}  passes {alone[name]:.1%} alone")
    click.echo(f"  {'the sum':{width}}  {'':11}  passes {together:.1%}, on the tasks that it was fitted on")
    terms = [name if weight == 1 else f"{weight:g}*{name}" for name, weight in weights.items() if weight]
    click.echo(f"\nmeasure it on other tasks: rewardranker eval ... --rankers '{'+'.join(terms)}'")


def _check(names: list[str], known: list[str], path: Path) -> None:
    from rewardranker.ranking import check_spec

    for name in names:
        if name not in known:
            raise ConfigError(f"--rankers: {path} has no scores of '{name}' but of {', '.join(known)}")
        if "+" in name:
            raise ConfigError(f"ranker '{name}' is a sum or a pruning already: name single ones with --rankers")
        try:
            check_spec(name)
        except ConfigError:
            raise ConfigError(
                f"'{name}' in {path} is a title, not a ranker: evaluate it without one, or choose others with --rankers"
            ) from None
    if len(set(names)) < 2:
        raise ConfigError(f"a sum needs two rankers or more, got {', '.join(names) or 'none'}: see --rankers")


def _table(values: NDArray[Any], counts: NDArray[Any], n: int) -> NDArray[Any]:
    """The first n of each task's values, `[tasks, n]`."""
    import numpy as np

    starts = np.cumsum(counts) - counts
    return values[starts[:, None] + np.arange(n)]
