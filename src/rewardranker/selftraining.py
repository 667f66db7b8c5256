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

import copy
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from rewardranker import processes, runs
from rewardranker.config import LaunchOptions, Recipe, SamplingOptions
from rewardranker.execution import judge_to_file, open_judge
from rewardranker.generation import TransformersSampler, sample_together
from rewardranker.models import choose_device, load_causal_lm, new_llama, use_threads
from rewardranker.policy import build_reward, train_ppo, train_sft
from rewardranker.preference import MiningStatistics, build_groups, merge_groups, mine, usable
from rewardranker.progress import Progress, Silent
from rewardranker.reward import RewardRanker, reward_figures, train_reward
from rewardranker.rollouts import Rollouts
from rewardranker.runs import read_records, write_records
from rewardranker.shared_runs import SharedRunDirectory
from rewardranker.tasks import load_tasks, remove_overlap, sft_examples
from rewardranker.tokenization import train_tokenizer
from rewardranker.types import Judge, PreferenceGroup, ProgressReporter, Sample, Task, Verdict


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
    processes.join(choose_device(recipe.launch.device))
    with (
        SharedRunDirectory(output_dir, "run", recipe.model_dump(mode="json")) as run,
        open_judge(recipe.judge, judge_workers(recipe.launch)) as judge,
    ):
        text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)
        processes.on_main(lambda: runs.write_text(run.path / "recipe.yaml", text))
        yield Loop(recipe, run, judge, progress or own_progress())


class Loop:
    """The stages over one run directory. Models live on disk between stages; each stage loads what it needs."""

    def __init__(self, recipe: Recipe, run: SharedRunDirectory, judge: Judge, progress: ProgressReporter) -> None:
        self.recipe, self.run, self.judge, self.progress = recipe, run, judge, progress
        self.path = run.path
        self.device = choose_device(recipe.launch.device)
        self.rollouts = Rollouts(recipe)
        self._loaded: dict[str, list[Task]] = {}

    # --- the method ---------------------------------------------------------------------------------------------

    def train(self) -> None:
        """Stages A to E for all rounds."""
        if not self.run.stage_is_done(f"C ppo round-{self.recipe.loop.rounds}"):
            self.rollouts.check()
        self.prepare_tasks()
        self.fine_tune()
        self.sample_and_judge(self.generator, self.sampled_tasks, self.round_dir(1), self.sampling(1))
        self.build_preferences()
        self.train_reward(1)
        self.train_policy(1)
        for round in range(2, self.recipe.loop.rounds + 1):
            last = self.policy(round - 1)
            self.sample_and_judge(
                last, self.sampled_tasks, self.round_dir(round), self.sampling(round), round=round - 1
            )
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
            report: dict[str, Any] = {}
            for name, tasks in held_out.items():
                train, overlap = remove_overlap(train, tasks)
                report[f"overlap_with_{name}"] = overlap.summary()
            for name, tasks in {"train": train, **held_out}.items():
                write_records(self.path / "tasks" / f"{name}.jsonl", tasks)
                report[name] = len(tasks)
            return report

        self.stage("tasks", work)

    def fine_tune(self) -> None:
        """A: the generator, fine-tuned (or trained from scratch) on the completion given the task."""

        def work() -> dict[str, Any]:
            examples = sft_examples(self.recipe.tasks, self.tasks("train"))
            model, tokenizer = start_model(self.recipe, examples, self.device)
            parameters = sum(p.numel() for p in model.parameters())  # before they are sharded
            train_sft(
                examples,
                model,
                tokenizer,
                self.recipe.sft,
                self.recipe.prompt,
                self.generator,
                lora_rank=self.recipe.model.lora_rank,
                lora_alpha=self.recipe.model.lora_alpha,
                progress=self.progress,
                device=self.device,
                launch=self.recipe.launch,
            )
            return {"examples": len(examples), "parameters": parameters}

        self.stage("A sft", work, together=True)

    def sample_and_judge(
        self, model: Path, tasks: Sequence[Task], folder: Path, options: SamplingOptions, *, round: int = 0
    ) -> None:
        """B and D: draw n programs for each task and run their tests."""
        label = folder.relative_to(self.path)
        samples = folder / "samples.jsonl"

        def sample() -> dict[str, Any]:
            return sample_together(
                self.sampler(model, options),
                tasks,
                options.n,
                samples,
                batch_tasks=options.batch_tasks,
                round=round,
                progress=self.progress,
            )

        self.stage(f"sample {label}", sample, together=True)
        self.stage(
            f"judge {label}",
            lambda: judge_to_file(tasks, samples, folder / "verdicts.jsonl", self.judge, progress=self.progress),
        )

    def build_preferences(self) -> None:
        """B: (correct, wrong) programs of the SFT generator, by task."""
        folder = self.round_dir(1)

        def work() -> dict[str, Any]:
            samples, verdicts = self.judged(folder)
            groups, statistics = build_groups(self.sampled_tasks, samples, verdicts, self.recipe.preference)
            write_records(folder / "groups.jsonl", groups)
            return statistics.to_record()

        self.stage("B preferences", work)

    def train_reward(self, round: int, folder: Path | None = None) -> None:
        """B and E: the reranker of a round, on the preference groups in its folder."""
        folder = folder or self.round_dir(round)

        def work() -> dict[str, Any]:
            options = self.recipe.model
            source: str | Path = self.generator
            if round > 1 and self.recipe.loop.reward_restart == "last":
                source = self.round_dir(round - 1) / "reward"
            elif options.reward_init == "base":
                source = options.reward or options.generator
            groups = list(read_records(folder / "groups.jsonl", PreferenceGroup))
            train_reward(
                groups,
                str(source),
                None,
                self.recipe.reward,
                self.recipe.prompt,
                folder / "reward",
                lora_rank=options.lora_rank,
                lora_alpha=options.lora_alpha,
                dtype=options.dtype,
                progress=self.progress,
                device=self.device,
                launch=self.recipe.launch,
            )
            return reward_figures(folder / "reward")

        self.stage(f"reward {folder.relative_to(self.path)}", work, together=True)

    def train_policy(self, round: int, folder: Path | None = None, reward: Path | None = None) -> None:
        """C: a new policy from the SFT generator against the round's reranker."""
        folder = folder or self.round_dir(round)
        reranker = reward or folder / "reward"

        def work() -> dict[str, Any]:
            policy, tokenizer = self.load_generator()
            # LoRA adapters are switched off where the SFT generator is asked: no second model in memory.
            reference = policy if self.recipe.model.lora_rank else self.load_generator()[0]
            function = build_reward(
                self.recipe.ppo.reward,
                scorer=RewardRanker.from_pretrained(reranker, self.device),
                reference=reference,
                tokenizer=tokenizer,
                prompt=self.recipe.prompt,
                judge=self.judge,
            )
            with self.rollouts.of_round(self.recipe, tokenizer, round) as rollout:
                result = train_ppo(
                    policy,
                    reference,
                    tokenizer,
                    self.tasks("train"),
                    self.tasks("validation"),
                    function,
                    rollout,
                    self.judge,
                    self.recipe.ppo,
                    self.recipe.prompt,
                    folder / "ppo",
                    lora_rank=self.recipe.model.lora_rank,
                    lora_alpha=self.recipe.model.lora_alpha,
                    progress=self.progress,
                    device=self.device,
                    round=round,
                    launch=self.recipe.launch,
                )
            return dict(result.figures)

        self.stage(f"C ppo {folder.relative_to(self.path)}", work, together=True)

    def mine(self, round: int) -> None:
        """D: add hard negatives and new correct programs of the last policy to the preference data."""
        folder, last = self.round_dir(round), self.round_dir(round - 1)

        def work() -> dict[str, Any]:
            old = list(read_records(last / "groups.jsonl", PreferenceGroup))
            groups, statistics = self.mined(round)
            merged = usable(merge_groups(old, groups, self.recipe.preference))
            write_records(folder / "groups.jsonl", merged)
            return statistics.to_record()

        self.stage(f"D mine {folder.relative_to(self.path)}", work)

    def mined(self, round: int) -> tuple[list[PreferenceGroup], MiningStatistics]:
        """What the recipe's rule picks from the samples of the last policy, scored by the last reranker."""
        samples, verdicts = self.judged(self.round_dir(round))
        known = list(read_records(self.round_dir(round - 1) / "groups.jsonl", PreferenceGroup))
        prompts = {task.task_id: task.prompt for task in self.sampled_tasks}
        scores = self.reranker(round - 1).predict([(prompts[s.task_id], s.completion) for s in samples])
        return mine(
            self.sampled_tasks, samples, verdicts, scores.tolist(), self.recipe.preference, round=round, known=known
        )

    def sampling(self, round: int) -> SamplingOptions:
        """How a round's programs are drawn: where no PPO step beat the SFT generator, from other random streams.

        The last policy is that generator then, and would write the programs of round 1 once more.
        """
        options = self.recipe.sampling
        if round > 1 and self.run.figures(f"C ppo round-{round - 1}")["step"] == 0:
            return options.model_copy(update={"seed": options.seed + 10 * (round - 1)})
        return options

    def stage(self, name: str, work: Callable[[], Mapping[str, Any] | None], together: bool = False) -> dict[str, Any]:
        """Do a stage of the run directory unless it is done, under its name in the progress.

        Args:
            together: all processes of a launch share the work; else the main one does it and the others wait.
        """
        if isinstance(self.progress, Progress) and not self.run.stage_is_done(name):
            self.progress.begin(name)
        return self.run.stage(name, work, together)

    # --- what the stages share ------------------------------------------------------------------------------------

    @property
    def generator(self) -> Path:
        """Folder of the SFT generator."""
        return self.path / "sft"

    def round_dir(self, round: int) -> Path:
        return self.path / f"round-{round}"

    def policy(self, round: int) -> Path:
        """Folder of a round's policy."""
        return self.round_dir(round) / "ppo" / "policy"

    def reranker(self, round: int) -> RewardRanker:
        return RewardRanker.from_pretrained(self.round_dir(round) / "reward", self.device)

    def tasks(self, split: str) -> list[Task]:
        """`train`, `validation` or `evaluation`."""
        if split not in self._loaded:
            self._loaded[split] = list(read_records(self.path / "tasks" / f"{split}.jsonl", Task))
        return self._loaded[split]

    @property
    def sampled_tasks(self) -> list[Task]:
        """The training tasks that B and D draw programs for."""
        return self.tasks("train")[: self.recipe.loop.sampled_tasks]

    def sampler(self, model: Path, options: SamplingOptions) -> TransformersSampler:
        loaded, tokenizer = load_causal_lm(str(model), self.recipe.model.dtype, self.device)
        name = str(model.relative_to(self.path))
        return TransformersSampler(loaded, tokenizer, options, self.recipe.prompt, name)

    def varied(self, **sections: Any) -> Loop:
        """The same run directory under other sections of the recipe, for controls."""
        loop = copy.copy(self)
        loop.recipe = self.recipe.model_copy(update=sections)
        return loop

    def load_generator(self) -> tuple[Any, Any]:
        """The SFT generator and its tokenizer."""
        return load_causal_lm(str(self.generator), self.recipe.model.dtype, self.device)

    def judged(self, folder: Path) -> tuple[list[Sample], list[Verdict]]:
        return (
            list(read_records(folder / "samples.jsonl", Sample)),
            list(read_records(folder / "verdicts.jsonl", Verdict)),
        )

    def _link(self, name: str, target: Path) -> None:
        def make() -> None:
            link = self.path / name
            if not link.is_symlink():
                link.symlink_to(target.relative_to(self.path))

        processes.on_main(make)


# --- what the loop and the commands share ---------------------------------------------------------------------------


def own_progress() -> ProgressReporter:
    """Progress on the terminal, of a launch's main process alone."""
    return Progress() if processes.is_main() else Silent()


def judge_workers(launch: LaunchOptions) -> int | None:
    """Judge processes of each process of a launch; None: as many as it has cores."""
    size = processes.local_world_size()
    if size == 1:
        return launch.judge_workers
    return max(1, (launch.judge_workers or len(os.sched_getaffinity(0))) // size)


def start_model(recipe: Recipe, examples: Sequence[tuple[str, str, str]], device: str) -> tuple[Any, Any]:
    """Where A starts, and its tokenizer: `model.generator`, or random weights with a tokenizer of the examples."""
    options = recipe.model
    if options.generator != "scratch":
        return load_causal_lm(options.generator, options.dtype, device)
    tokenizer = train_tokenizer(
        [text for prompt, completion, _ in examples for text in (prompt, completion)], options.scratch.vocabulary
    )
    return new_llama(options.scratch, tokenizer, recipe.sft.seed), tokenizer
