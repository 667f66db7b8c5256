"""Rankers by spec: what is made, how it is put together, and what is refused."""

import numpy as np
import pytest

from rewardranker.errors import ConfigError, DataError
from rewardranker.ranking import (
    GeneratedTests,
    ProgramOutputs,
    Sources,
    TestOutcomes,
    check_spec,
    make_ranker,
    ranker_names,
)
from rewardranker.ranking.specs import arguments
from rewardranker.types import Sample, Task, Verdict

TASK = Task("t", "def f():\n")
SAMPLES = [
    Sample("t", n, text, text, f"def f():\n{text}", (0, 1), (-float(n), -1.0))
    for n, text in enumerate(["    return 1\n", "    return 22\n", "    return\n", "    return ("])
]


class Lengths:
    def predict(self, pairs):  # type: ignore[no-untyped-def]
        return np.array([len(completion) for _, completion in pairs], np.float32)

    def log_likelihoods(self, pairs):  # type: ignore[no-untyped-def]
        return np.array([-float(len(a) + len(b)) for a, b in pairs]), np.array([len(b) for _, b in pairs])


VERDICTS = [
    Verdict("t", n, n == 1, "wrong answer", tests_total=2, outcomes=marks)
    for n, marks in enumerate(["10", "11", "00", "00"])
]
SOURCES = Sources(
    reward=lambda name: Lengths(),
    likelihood=lambda name: Lengths(),
    verdicts=VERDICTS,
    outcomes=TestOutcomes([GeneratedTests("t", ("assert f() == 1", "assert f()"), (1, 1))], VERDICTS),
    outputs=[ProgramOutputs("t", n, ("f()",), (text,)) for n, text in enumerate(["1", "22", "None", "!compile error"])],
    first_tests=[],
)


def scores(spec: str) -> tuple[float, ...]:
    return make_ranker(spec, SOURCES).rank([(TASK, SAMPLES)])[0].scores


@pytest.mark.parametrize("form", [name for name in ranker_names() if not name.startswith("prune")])
def test_every_ranker_can_be_made_by_its_name(form: str) -> None:
    spec = form.replace("MODEL", "runs/x")
    ranker = make_ranker(spec, SOURCES)
    ranking = ranker.rank([(TASK, SAMPLES)])[0]
    assert (ranker.name, ranking.ranker, len(ranking.scores)) == (spec, spec, len(SAMPLES))
    assert ranker.needs == check_spec(spec)


@pytest.mark.parametrize("form", [name for name in ranker_names() if not name.startswith("prune") and name != "first"])
def test_the_order_of_samples_does_not_matter(form: str) -> None:
    ranker = make_ranker(form.replace("MODEL", "runs/x"), SOURCES)
    order = [2, 0, 3, 1]
    shuffled = ranker.rank([(TASK, [SAMPLES[i] for i in order])])[0].scores
    assert shuffled == pytest.approx([ranker.rank([(TASK, SAMPLES)])[0].scores[i] for i in order])


def test_a_sum_is_of_standardised_scores() -> None:
    reward, logprob = np.array(scores("reward:runs/x")), np.array(scores("logprob"))
    expected = (reward - reward.mean()) / reward.std() + 0.5 * (logprob - logprob.mean()) / logprob.std()
    assert scores("reward:runs/x+0.5*logprob") == pytest.approx(expected)
    assert make_ranker("reward:runs/x + 0.5*logprob", SOURCES).name == "reward:runs/x+0.5*logprob"


def test_a_negative_weight_turns_a_ranker_around() -> None:
    assert np.argsort(scores("-1*shortest")).tolist() == np.argsort(scores("shortest"))[::-1].tolist()


def test_prune_stands_before_a_whole_sum() -> None:
    found = scores("prune+reward:runs/x+logprob")
    assert found[3] == -np.inf
    assert np.isfinite(found[:3]).all()


def test_models_of_a_spec() -> None:
    spec = "prune+reward:a/b+2*lever:c"
    assert arguments(spec, "reward", "lever") == ["a/b", "c"]
    assert "token log-probabilities" in check_spec(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("codett", "did you mean 'codet'"),
        ("rewards:x", "did you mean 'reward'"),
        ("nonsense", "known: reward:MODEL, logprob"),
        ("", "there is no ranker ''"),
        ("reward", "write 'reward:MODEL'"),
        ("codet:x", "write 'codet'"),
        ("a*codet", "'a' is not a weight"),
        ("0*codet", "'0' is not a weight"),
        ("nan*codet", "'nan' is not a weight"),
        ("codet+codet", "the same ranker twice"),
        ("prune", "needs a ranker for what is left"),
        ("codet+prune", "in front of all others"),
        ("2*3*codet", "not of the form"),
    ],
)
def test_a_wrong_spec_says_what_is_wrong(spec: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_spec(spec)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("codet", "needs generated tests"),
        ("mbr", "needs what the programs return"),
        ("srank", "needs what the programs return"),
        ("oracle", "needs verdicts"),
        ("reward:x", "a way to load reward models"),
        ("likelihood:x", "a way to load language models"),
    ],
)
def test_what_a_ranker_lacks_is_named(spec: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_ranker(spec)
