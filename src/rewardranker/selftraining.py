"""Iterative self-training of a reranker (arXiv 2504.09643, Fig. 1), from top to bottom.

    A  SFT         fine-tune the generator on (task, correct program)
    B  REWARD      sample from it, run the tests, train the reranker on (correct, wrong) programs of the same task
    C  PPO         train a policy, starting from the SFT generator, against the reranker
    D  MINE        sample from the policy, run the tests, collect the wrong programs the reranker scores high (hard
                   negatives) and the new correct ones
    E  RETRAIN     add both to the preference data, train a new reranker; back to C with a new policy

Every step is a stage of the run directory: it is done once, survives a kill, and the same call goes on. What comes out
is measured by `measuring.py`. Not guaranteed: equal figures on another machine or thread count (floating point).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from rewardranker import runs
from rewardranker.config import Recipe
from rewardranker.execution import PythonJudge, judge_to_file
from rewardranker.generation import TransformersSampler, sample_to_file
from rewardranker.models import choose_device, load_causal_lm, new_llama, use_threads
from rewardranker.policy import build_reward, train_ppo, train_sft
from rewardranker.preference import build_groups, merge_groups, mine, usable
from rewardranker.progress import Progress
from rewardranker.reward import RewardRanker, train_reward
from rewardranker.runs import RunDirectory, read_records, write_records
from rewardranker.tasks import corpus, load_tasks, remove_overlap
from rewardranker.tokenization import train_tokenizer
from rewardranker.types import PreferenceGroup, ProgressReporter, Sample, Task, Verdict


def self_train(recipe: Recipe, output_dir: str | Path, progress: ProgressReporter | None = None) -> Path:
    """Run the whole loop in `output_dir`, or go on with it, and measure it.

    Returns:
        The run directory: `reward/` is the last reranker, `evaluation.json` the figures, `report.html` the page.

    Raises:
        RewardRankerError: see the stages; whatever was complete stays, and the same call goes on.
    """
    from rewardranker.measuring import measure

    with open_loop(recipe, output_dir, progress) as loop:
        loop.train()
        measure(loop)
    return loop.path


@contextmanager
def open_loop(recipe: Recipe, output_dir: str | Path, progress: ProgressReporter | None = None) -> Iterator[Loop]:
    """The loop's state in its run directory, with the judge's workers alive inside the context."""
    use_threads(recipe.launch.threads)
    with (
        RunDirectory(output_dir, "run", recipe.model_dump(mode="json")) as run,
        PythonJudge(recipe.judge, recipe.launch.judge_workers) as judge,
    ):
        runs.write_text(run.path / "recipe.yaml", yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
        yield Loop(recipe, run, judge, progress or Progress())


class Loop:
    """The stages over one run directory. Models live on disk between stages; each stage loads what it needs."""

    def __init__(self, recipe: Recipe, run: RunDirectory, judge: PythonJudge, progress: ProgressReporter) -> None:
        self.recipe, self.run, self.judge, self.progress = recipe, run, judge, progress
        self.path = run.path
        self.device = choose_device(recipe.launch.device)
        self._loaded: dict[str, list[Task]] = {}

    # --- the method ---------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Stages A to E for all rounds."""
        self.prepare_tasks()
        self.fine_tune()
        self.sample_and_judge(self.generator, "train", self.round_dir(1), round=0)
        self.build_preferences()
        self.train_reward(1)
        self.train_policy(1)
        for round in range(2, self.recipe.loop.rounds + 1):
            self.sample_and_judge(self.policy(round - 1), "train", self.round_dir(round), round=round - 1)
            self.mine(round)
            self.train_reward(round)
            self.train_policy(round)
        self._link("reward", self.round_dir(self.recipe.loop.rounds) / "reward")

    def prepare_tasks(self) -> None:
        """Load the tasks, keep evaluation tasks out of the training tasks, and write all of them down."""

        def work() -> dict[str, Any]:
            options = self.recipe.tasks
            train = load_tasks(options.train, options.train_limit, options.seed)
            held_out = {
                "validation": load_tasks(options.validation, options.validation_limit, options.seed),
                "evaluation": load_tasks(options.evaluation, options.evaluation_limit, options.seed),
            }
            report = {}
            for name, tasks in held_out.items():
                train, overlap = remove_overlap(train, tasks)
                report[f"overlap_with_{name}"] = overlap.to_record()
            for name, tasks in {"train": train, **held_out}.items():
                write_records(self.path / "tasks" / f"{name}.jsonl", tasks)
                report[name] = len(tasks)
            return report

        self.run.stage("tasks", work)

    def fine_tune(self) -> None:
        """A: the generator, fine-tuned (or trained from scratch) on the completion given the task."""

        def work() -> dict[str, Any]:
            model_options = self.recipe.model
            examples = self._sft_examples()
            if model_options.generator == "scratch":
                tokenizer = train_tokenizer([p + c for p, c in examples], model_options.scratch.vocabulary)
                model = new_llama(model_options.scratch, tokenizer, self.recipe.sft.seed)
            else:
                model, tokenizer = load_causal_lm(model_options.generator, model_options.dtype, self.device)
            train_sft(
                examples,
                model,
                tokenizer,
                self.recipe.sft,
                self.recipe.prompt,
                self.generator,
                lora_rank=model_options.lora_rank,
                lora_alpha=model_options.lora_alpha,
                progress=self.progress,
                device=self.device,
            )
            return {"examples": len(examples), "parameters": sum(p.numel() for p in model.parameters())}

        self.run.stage("A sft", work)

    def sample_and_judge(self, model: Path, split: str, folder: Path, *, round: int) -> None:
        """B and D: draw n programs for each task of a split and run their tests."""
        tasks = self.tasks(split)
        if split == "train":
            tasks = tasks[: self.recipe.loop.sampled_tasks]
        label = folder.relative_to(self.path)

        def sample() -> dict[str, Any]:
            sampler = self.sampler(model)
            return sample_to_file(
                sampler, tasks, self.recipe.sampling.n, folder / "samples.jsonl", round=round, progress=self.progress
            )

        self.run.stage(f"sample {label}", sample)
        self.judge_samples(tasks, folder)

    def judge_samples(self, tasks: Sequence[Task], folder: Path) -> None:
        self.run.stage(
            f"judge {folder.relative_to(self.path)}",
            lambda: judge_to_file(
                tasks, folder / "samples.jsonl", folder / "verdicts.jsonl", self.judge, progress=self.progress
            ),
        )

    def build_preferences(self) -> None:
        """B: (correct, wrong) programs of the SFT generator, by task."""
        folder = self.round_dir(1)

        def work() -> dict[str, Any]:
            samples, verdicts = self.judged(folder)
            groups, statistics = build_groups(
                self.tasks("train")[: self.recipe.loop.sampled_tasks], samples, verdicts, self.recipe.preference
            )
            write_records(folder / "groups.jsonl", groups)
            return statistics.to_record()

        self.run.stage("B preferences", work)

    def train_reward(self, round: int, folder: Path | None = None) -> None:
        """B and E: the reranker of a round, on the preference groups in its folder."""
        folder = folder or self.round_dir(round)

        def work() -> dict[str, Any]:
            options = self.recipe.model
            source = options.reward if options.reward_init == "base" and options.reward else self.generator
            if round > 1 and self.recipe.loop.reward_restart == "last":
                source = self.round_dir(round - 1) / "reward"
            groups = list(read_records(folder / "groups.jsonl", PreferenceGroup))
            train_reward(
                groups,
                str(source),
                self.recipe.reward,
                self.recipe.prompt,
                folder / "reward",
                lora_rank=options.lora_rank,
                lora_alpha=options.lora_alpha,
                progress=self.progress,
                device=self.device,
            )
            return {"groups": len(groups), "pairs": sum(g.pairs for g in groups)}

        self.run.stage(f"reward {folder.relative_to(self.path)}", work)

    def train_policy(self, round: int, folder: Path | None = None) -> None:
        """C: a new policy from the SFT generator against the round's reranker."""
        folder = folder or self.round_dir(round)

        def work() -> dict[str, Any]:
            policy, tokenizer = load_causal_lm(str(self.generator), self.recipe.model.dtype, self.device)
            reference, _ = load_causal_lm(str(self.generator), self.recipe.model.dtype, self.device)
            reward = build_reward(
                self.recipe.ppo.reward,
                scorer=self.reranker(round, folder),
                reference=reference,
                tokenizer=tokenizer,
                prompt=self.recipe.prompt,
                judge=self.judge,
            )
            result = train_ppo(
                policy,
                reference,
                tokenizer,
                self.tasks("train"),
                self.tasks("validation"),
                reward,
                self._rollout(tokenizer, round),
                self.judge,
                self.recipe.ppo,
                self.recipe.prompt,
                folder / "ppo",
                progress=self.progress,
                device=self.device,
                round=round,
            )
            return dict(result.figures)

        self.run.stage(f"C ppo {folder.relative_to(self.path)}", work)

    def mine(self, round: int) -> None:
        """D: add hard negatives and new correct programs of the last policy to the preference data."""
        folder, last = self.round_dir(round), self.round_dir(round - 1)

        def work() -> dict[str, Any]:
            old = list(read_records(last / "groups.jsonl", PreferenceGroup))
            groups, statistics = self.mined(round)
            merged = usable(merge_groups(old, groups, self.recipe.preference))
            write_records(folder / "groups.jsonl", merged)
            return statistics.to_record()

        self.run.stage(f"D mine {folder.relative_to(self.path)}", work)

    # --- where things are ---------------------------------------------------------------------------------------

    @property
    def generator(self) -> Path:
        return self.path / "sft"
