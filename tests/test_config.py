"""Recipes: all problems at once, each with its place and the nearest known key."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewardranker.config import Options, Recipe, known_keys, load_recipe
from rewardranker.errors import ConfigError


def recipe(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def problems(path: Path | None, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        load_recipe(path, overrides)
    return str(error.value).splitlines()


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert load_recipe(recipe(tmp_path, "")) == Recipe() == load_recipe(None)


def test_overrides_win_over_the_file_and_later_ones_over_earlier(tmp_path: Path) -> None:
    path = recipe(tmp_path, "ppo:\n  kl: 0.5\n  steps: 7\n")
    loaded = load_recipe(path, ["ppo.kl=0.1", "ppo.kl=0.2"])
    assert (loaded.ppo.kl, loaded.ppo.steps) == (0.2, 7)


@pytest.mark.parametrize(
    ("override", "read", "value"),
    [
        ("tasks.train_limit=null", lambda r: r.tasks.train_limit, None),
        ("sampling.stop=['a', 'b']", lambda r: r.sampling.stop, ("a", "b")),
        ("sft.truncate_prompt=true", lambda r: r.sft.truncate_prompt, True),
        ("prompt.system='a=b'", lambda r: r.prompt.system, "a=b"),
        ("model.scratch.layers=5", lambda r: r.model.scratch.layers, 5),
        ("ppo.reward={reward: 1, logprob: 1.5}", lambda r: r.ppo.reward, {"reward": 1.0, "logprob": 1.5}),
    ],
)
def test_overrides_are_yaml_values(override: str, read: object, value: object) -> None:
    assert read(load_recipe(None, [override])) == value  # type: ignore[operator]


def test_all_problems_are_shown_at_once_with_their_lines(tmp_path: Path) -> None:
    path = recipe(tmp_path, "name: a\nppo:\n  kl: -1\n  stepps: 3\nsampling:\n  n: many\n")
    found = problems(path, "reward.pooling=first", "rubbish")
    text = "\n".join(found)
    assert len(found) == 5
    assert f"{path}:3: ppo.kl:" in text
    assert f"{path}:4: unknown key 'ppo.stepps'; did you mean 'ppo.steps'?" in text
    assert f"{path}:6: sampling.n:" in text
    assert "command line: reward.pooling:" in text
    assert "'rubbish': expected key=value" in text


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("ppo.k1", "ppo.kl"),
        ("samplng.n", "sampling.n"),
        ("layers", "model.scratch.layers"),
        ("ppo.lr", "ppo.learning_rate"),
    ],
)
def test_the_nearest_known_key_is_named(wrong: str, right: str) -> None:
    (line,) = problems(None, f"{wrong}=1")
    assert f"did you mean '{right}'?" in line


def test_a_key_like_no_other_points_to_the_reference() -> None:
    assert "see `rewardranker config`" in problems(None, "qqqq=1")[0]


def test_broken_yaml_names_file_and_line(tmp_path: Path) -> None:
    path = recipe(tmp_path, "a: [1\nb: 2\n")
    assert str(path) in problems(path)[0]
    assert "line 2" in "\n".join(problems(path))


@pytest.mark.parametrize("text", ["- a\n- b\n", "just text\n"])
def test_a_recipe_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    assert "expected keys and values" in problems(recipe(tmp_path, text))[0]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "No such file" in problems(tmp_path / "no.yaml")[0]


def test_a_section_given_as_a_value_is_refused(tmp_path: Path) -> None:
    assert "ppo" in problems(recipe(tmp_path, "ppo: 3\n"))[0]


def test_options_can_not_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Recipe().ppo.kl = 1.0  # type: ignore[misc]


def test_known_keys_reach_into_sections() -> None:
    class Inner(Options):
        depth: int = 3
        """How deep."""

    class Outer(Options):
        inner: Inner = Inner()

    assert known_keys(Outer) == {"inner.depth": ("int", 3, "How deep.")}


def test_a_reranker_from_base_weights_needs_some() -> None:
    (line,) = problems(None, "model.reward_init=base")
    assert "model.reward_init=base needs model.reward" in line
