"""Every ranker on the same samples of one generator, beside chance, greedy and the oracle, with intervals over tasks.

Best-of-n is the exact expectation over all subsets of n of each task's samples (ties shared), for n = 1, 2, 4, ... up
to the fewest samples of any task. Scores are those given among all samples of the task: a ranker by agreement has
looked at all of them also where n is smaller, and its programs are counted per sample.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from rewardranker.config import EvaluationOptions
from rewardranker.errors import DataError
from rewardranker.evaluation.calibration import calibrate
from rewardranker.evaluation.collect import DRAW, collect, score_vector
from rewardranker.evaluation.curves import (
    Curve,
    Ranked,
    Ranks,
    greedy_curve,
    mean_curve,
    oracle_curve,
    ranker_curve,
    run_ranker,
    scored,
)
from rewardranker.evaluation.figures import distinct_per_n
from rewardranker.evaluation.groups import BY, break_down
from rewardranker.evaluation.intervals import Bootstrap, holm, paired_differences
from rewardranker.evaluation.quality import measure_quality
from rewardranker.evaluation.records import (
    GREEDY,
    MEAN,
    ORACLE,
    Comparison,
    Cost,
    Evaluation,
    Row,
    TaskFigures,
)
from rewardranker.types import Sample, Task, Verdict

Floats = NDArray[np.float64]


def evaluate(
    tasks: Sequence[Task],
    samples: Sequence[Sample],
    verdicts: Iterable[Verdict],
    rankers: Sequence[Ranks | Ranked],
    options: EvaluationOptions | None = None,
    *,
    baselines: Sequence[str] = (MEAN,),
    greedy: tuple[Sequence[Sample], Sequence[Verdict]] | None = None,
    by: Sequence[str] = BY,
    key: Callable[[Sample], Hashable] | None = None,
    drop_incomplete: bool = False,
) -> Evaluation:
    """Measure rankers on the samples of one generator.

    Args:
        rankers: a ranker named `oracle` is left out, since the oracle has a row in any case.
        options: `n` is the size of which differences and breakdowns are told; None: the defaults.
        baselines: rankers by name, each of which all others are compared with; the p-values are corrected for all
            these comparisons together.
        greedy: one sample of each task, decoded greedily by the same model, with its verdicts.
        by: see `groups.break_down`.
        key: what makes samples equal programs, such as `lambda s: canonical_program(s.program)`; None leaves
            `distinct` out.
        drop_incomplete: see `collect`.

    Raises:
        DataError: the records do not fit each other (see `collect`), two rankers have one name, or a baseline is not
            among them.
    """
    options = options or EvaluationOptions()
    outcomes = collect(tasks, samples, verdicts, options.n, drop_incomplete=drop_incomplete)
    fewest = int(outcomes.counts.min())
    ns = sorted({*powers(fewest), options.n})
    _check_names([ranker.name for ranker in rankers], baselines, greedy is not None)
    ranked = [
        ranker if isinstance(ranker, Ranked) else run_ranker(ranker, outcomes.candidates)
        for ranker in rankers
        if ranker.name != ORACLE
    ]
    curves = [mean_curve(outcomes)]
    if greedy is not None:
        curves.append(greedy_curve(outcomes, *greedy))
    bootstrap = Bootstrap(len(outcomes.tasks), options, outcomes.problems)
    quality, calibration, notes = [], [], list(outcomes.notes)
    for one in ranked:
        scores, aside = score_vector(outcomes, one.rankings)
        notes += aside
        curves.append(ranker_curve(outcomes, one, scores, ns, curves[0].tokens))
        quality.append(measure_quality(one.name, scores, outcomes, bootstrap))
        fitted = calibrate(
            one.name, scores, outcomes.passed, outcomes.counts, outcomes.problems, bootstrap, options.seed
        )
        calibration += [fitted] if fitted else []
    curves.append(oracle_curve(outcomes, ns, curves[0].tokens))
    columns = [(curve.ranker, n) for curve in curves for n in curve.ns]
    figures = np.concatenate([curve.values for curve in curves], axis=1)
    breakdowns, more = break_down(outcomes.tasks, outcomes.problems, columns, figures, options, by)
    keys = None if key is None else [[key(sample) for sample in row] for row in outcomes.samples]
    return Evaluation(
        model=outcomes.model,
        tasks=len(outcomes.tasks),
        samples=len(outcomes.passed),
        fewest_samples=fewest,
        most_samples=int(outcomes.counts.max()),
        n=options.n,
        confidence=options.confidence,
        bootstrap=options.bootstrap,
        seed=options.seed,
        rows=_rows(curves, bootstrap),
        differences=_differences(curves, baselines, outcomes.problems, options),
        quality=tuple(quality),
        calibration=tuple(calibration),
        costs=tuple(Cost(one.name, scored(one), one.seconds, one.programs, one.execution_seconds) for one in ranked),
        breakdowns=tuple(breakdowns),
        task_ids=tuple(task.task_id for task in outcomes.tasks),
        problems=outcomes.problems,
        per_task=tuple(
            TaskFigures(ranker, n, tuple(values))
            for (ranker, n), values in zip(columns, figures.T.tolist(), strict=True)
        ),
        distinct=None if keys is None else float(distinct_per_n(keys, options.n).mean()),
        dropped=outcomes.dropped,
        notes=tuple(notes + more),
        draw={name: str(getattr(outcomes.samples[0][0], name)) for name in DRAW},
        methods=METHODS,
    )


METHODS = {
    "best of n": "exact expectation over all subsets of n of a task's samples, equal scores sharing the answer; scores "
    "are those given among all samples",
    "pass@k": "row `oracle`: 1 - C(N - c, k) / C(N, k) (arXiv 2107.03374)",
    "interval": "percentile bootstrap over tasks, those of one problem drawn together",
    "p_value": "two-sided sign-flip permutation test over tasks, paired, those of one problem flipped together",
    "p_adjusted": "Holm's correction over all differences of the list",
    "calibration": "logistic curve fitted on the other tasks (5 folds); expected calibration error over 10 bins of "
    "equal weight",
}


def powers(n: int) -> list[int]:
    """1, 2, 4, ... below n, and n."""
    return [*(1 << i for i in range((n - 1).bit_length())), n]


def _check_names(names: Sequence[str], baselines: Sequence[str], greedy: bool) -> None:
    every = [MEAN, *[GREEDY] * greedy, *(name for name in names if name != ORACLE), ORACLE]
    if len(set(every)) < len(every):
        raise DataError(f"two rankers have one name among: {', '.join(every)}; rename one")
    unknown = [name for name in baselines if name not in every]
    if unknown:
        raise DataError(f"baseline '{unknown[0]}' is not among the rankers: {', '.join(every)}")


def _rows(curves: Sequence[Curve], bootstrap: Bootstrap) -> tuple[Row, ...]:
    rows = []
    for curve in curves:
        for n, interval in zip(curve.ns, bootstrap.intervals(curve.values), strict=True):
            rows.append(
                Row(
                    ranker=curve.ranker,
                    n=n,
                    mean=interval.mean,
                    low=interval.low,
                    high=interval.high,
                    tokens=_times(n, curve.tokens),
                    seconds=_times(n, curve.seconds),
                    programs=_times(n, curve.programs),
                    execution_seconds=_times(n, curve.execution_seconds),
                )
            )
    return tuple(rows)


def _times(n: int, cost: float | None) -> float | None:
    return None if cost is None else n * cost


def _differences(
    curves: Sequence[Curve], baselines: Sequence[str], problems: Sequence[str], options: EvaluationOptions
) -> tuple[Comparison, ...]:
    by_name = {curve.ranker: curve for curve in curves}
    pairs = [
        (curve.ranker, baseline)
        for baseline in baselines
        for curve in curves
        if curve.ranker not in (MEAN, ORACLE, *baselines[: list(baselines).index(baseline) + 1])
    ]
    return compare_columns(
        [(a, b, by_name[a].at(options.n), by_name[b].at(options.n)) for a, b in pairs], problems, options
    )


def compare_columns(
    pairs: Sequence[tuple[str, str, Floats, Floats]], problems: Sequence[str], options: EvaluationOptions
) -> tuple[Comparison, ...]:
    """Paired differences of named figures [tasks], their p-values corrected for all of them together."""
    if not pairs:
        return ()
    found = paired_differences(np.stack([a - b for _, _, a, b in pairs], axis=1), options, problems)
    adjusted = holm([difference.p_value for difference in found])
    return tuple(
        Comparison(ranker, baseline, options.n, d.mean, d.low, d.high, d.p_value, p)
        for (ranker, baseline, _, _), d, p in zip(pairs, found, adjusted, strict=True)
    )
