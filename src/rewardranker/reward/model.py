"""The reward model: a causal language model with one linear head, and its folder on disk.

A score is the head's value at the program's last token (`last`), or its sum or mean over the program's tokens (`sum`,
`mean`); an empty program is read at its prompt's last token. Scores are float32 whatever the precision of the weights.
Their origin and scale mean nothing: only differences between programs of the same task do.

`last` is stored as a plain `AutoModelForSequenceClassification` with one label, which transformers, TRL and vLLM read
alike, as long as the program does not itself end with the pad token. The other poolings are nothing those know: their
folder carries a model type of its own, so that they refuse it instead of reading the last token.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F

from rewardranker.config import Options, PromptOptions, validate
from rewardranker.cpu_linear import speed_up
from rewardranker.errors import ConfigError, ModelError
from rewardranker.models import check_fit, choose_device, load_tokenizer
from rewardranker.runs import write_json, write_text
from rewardranker.shared_prompts import plan_batches, sharing_of
from rewardranker.training import plain_model, quiet_transformers

Pooling = Literal["last", "sum", "mean"]
SETTINGS = "rewardranker.json"


class RewardSettings(Options):
    """What a reward model must know beside its weights: the content of `rewardranker.json`."""

    version: Literal[1] = 1
    pooling: Pooling = "last"
    prompt: PromptOptions = PromptOptions()
    max_length: int = 1024
    """Tokens of prompt and program together."""
    truncate_prompt: bool = False
    """Cut over-long inputs at the start of the prompt; False refuses them."""
    model_type: str = ""
    """The architecture, as transformers names it in `config.json`."""


# --- scores -----------------------------------------------------------------------------------------------------


def read_scores(
    states: torch.Tensor,
    head: torch.Tensor,
    places: torch.Tensor,
    starts: torch.Tensor,
    ends: torch.Tensor,
    pooling: Pooling,
) -> torch.Tensor:
    """float32 scores `[rows]` from hidden states `[nodes, hidden]`: the one place where scores are read.

    Args:
        head: weight `[1, hidden]`.
        places: `[rows, tokens]`, where in `states` each token of a row is; what stands behind `ends` is not read.
        starts: `[rows]`, the first token that `sum` and `mean` read.
        ends: `[rows]`, one past the last token read.
    """
    if pooling == "last":
        last = states[places[torch.arange(len(places), device=places.device), ends - 1]]
        return F.linear(last.float(), head.float()).squeeze(-1)
    column = torch.arange(places.shape[1], device=places.device)
    inside = (column >= starts[:, None]) & (column < ends[:, None])
    scores = F.linear(states.float(), head.float()).squeeze(-1)[places].masked_fill(~inside, 0.0).sum(1)
    return scores if pooling == "sum" else scores / (ends - starts)


def head_weight(model: Any) -> torch.Tensor:
    """The score head's weight `[1, hidden]`."""
    return plain_model(model).score.weight


def row_scores(
    model: Any, rows: Sequence[Sequence[int]], starts: Sequence[int], pooling: Pooling, batch_tokens: int
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """float32 scores of token rows, batch by batch; rows with the same beginning share its forward pass.

    Args:
        starts: where each row's program starts (`score_start`).

    Yields:
        Indices of rows, and their scores on the model's device.
    """
    for batch in plan_batches(rows, starts, batch_tokens, sharing_of(model)):
        batch = batch.to(model.device)
        begin = torch.tensor([starts[row] for row in batch.rows], device=model.device)
        states = batch.states(model)
        yield list(batch.rows), read_scores(states, head_weight(model), batch.places, begin, batch.lengths, pooling)


def score_start(prompt_tokens: int, total_tokens: int) -> int:
    """The first token that `sum` and `mean` read: the program's first, or the last of all when it is empty."""
    return min(prompt_tokens, total_tokens - 1)


# --- making, saving, loading ------------------------------------------------------------------------------------


def from_causal_lm(causal: Any, tokenizer: Any, seed: int) -> Any:
    """A reward model on the layers of `causal`, which it takes over (not a copy).

    The head is float32 and starts normal with deviation 1 / sqrt(hidden size), drawn from `seed`, so that a token's
    score starts with a deviation near 1. A head of zeros learns much worse: it passes no gradient to the layers below
    until it has grown.

    Raises:
        ModelError: transformers has no sequence classification with a `score` head for this architecture.
    """
    from transformers import AutoModelForSequenceClassification

    config = copy.deepcopy(causal.config)
    config.num_labels = 1
    config.pad_token_id = tokenizer.pad_token_id
    try:
        with torch.device("meta"):
            model = AutoModelForSequenceClassification.from_config(config)
    except ValueError as error:
        raise ModelError(f"no reward model can be made of a {type(causal).__name__}: {error}") from error
    _check_head(model, type(causal).__name__)
    setattr(model, model.base_model_prefix, causal.base_model)
    model.score = torch.nn.Linear(model.score.in_features, 1, bias=False, device=causal.device)
    draws = torch.Generator().manual_seed(seed)
    deviation = model.score.in_features**-0.5
    model.score.weight.data.copy_(torch.normal(0.0, deviation, model.score.weight.shape, generator=draws))
    return model.eval()


def save_reward_model(model: Any, tokenizer: Any, settings: RewardSettings, folder: str | Path) -> None:
    """Write model, tokenizer, `rewardranker.json` and a README into a folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings = settings.model_copy(update={"model_type": model.config.model_type})
    with quiet_transformers():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    if settings.pooling != "last":
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config["model_type"] = f"rewardranker_{settings.pooling}_{settings.model_type}"
        config["architectures"] = ["RewardRanker"]
        write_json(folder / "config.json", config)
    write_json(folder / SETTINGS, settings.model_dump())
    write_text(folder / "README.md", _readme(settings))


def load_reward_model(folder: str | Path, device: str = "cpu") -> tuple[Any, Any, RewardSettings]:
    """Model, tokenizer and settings of a reward model's folder.

    A folder without `rewardranker.json` is read as another tool's plain sequence classification with one label:
    pooling `last`, plain prompts, and as many tokens as the model has positions.

    Raises:
        ModelError: not a reward model, or its head is missing or of another shape; a head is never made up.
    """
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForSequenceClassification

    folder = Path(folder)
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ModelError(f"{folder} is not a reward model: config.json can't be read ({error})") from error
    settings = _read_settings(folder, values)
    values["model_type"] = settings.model_type
    try:
        config = AutoConfig.for_model(**values)
        if config.num_labels != 1:
            made_for = ", ".join(values.get("architectures") or ["nothing known"])
            raise ModelError(
                f"{folder} is not a reward model but one for {made_for}, with {config.num_labels} labels instead of 1: "
                "train one with `rewardranker reward`"
            )
        with quiet_transformers():
            model, report = AutoModelForSequenceClassification.from_pretrained(
                folder, config=config, dtype="auto", output_loading_info=True, ignore_mismatched_sizes=True
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"reward model {folder} can't be loaded: {error}") from error
    wrong = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
    if wrong:
        raise ModelError(
            f"{folder} is not a whole reward model: weights missing or of another shape: {', '.join(wrong[:5])}. "
            "Train it with `rewardranker reward`; a head with random weights would score at random"
        )
    _check_head(model, str(folder))
    if model.dtype != torch.float32:
        model.score.float()
        model.score.weight.data.copy_(_stored_head(folder, model.score.weight))
    with quiet_transformers():  # it notes that the model type is not one of its own
        tokenizer = load_tokenizer(str(folder))
    check_fit(model, tokenizer, str(folder))
    return speed_up(model.to(choose_device(device)).eval()), tokenizer, settings


def cast_layers(model: Any, dtype: torch.dtype) -> None:
    """Change the precision of the layers' weights, not of the head nor of buffers such as rotary frequencies."""
    for parameter in model.base_model.parameters():
        parameter.data = parameter.data.to(dtype)


def _read_settings(folder: Path, config: dict[str, Any]) -> RewardSettings:
    path = folder / SETTINGS
    if not path.exists():
        positions = config.get("max_position_embeddings") or config.get("n_positions") or 1024
        return RewardSettings(model_type=config.get("model_type", ""), max_length=positions)
    try:
        return validate(RewardSettings, json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, ConfigError) as error:
        raise ModelError(f"{path} can't be read: {error}") from error


def _check_head(model: Any, name: str) -> None:
    head = getattr(model, "score", None)
    if not isinstance(head, torch.nn.Linear) or head.out_features != 1 or head.bias is not None:
        raise ModelError(
            f"{name}: {type(model).__name__} has no head `score` with one output and no bias; use a causal language "
            "model such as Llama, Qwen2, Mistral or GPT-2"
        )


def _stored_head(folder: Path, otherwise: torch.Tensor) -> torch.Tensor:
    """The head in the precision of the file: loading casts it with the rest of a half-precision model."""
    from safetensors import safe_open

    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="pt") as tensors:
            if "score.weight" in tensors.keys():  # noqa: SIM118 (not a dict)
                return tensors.get_tensor("score.weight")
    return otherwise


def _readme(settings: RewardSettings) -> str:
    use = """```python
from rewardranker import RewardRanker

RewardRanker.from_pretrained("this folder").rank(prompt, programs)
```
"""
    if settings.pooling == "last":
        return f"""# Reward model

Scores a program for a task: higher is more likely to be correct. Scores of different tasks don't compare.

{use}
It is a plain `AutoModelForSequenceClassification` with one label, too: its input is the prompt's tokens, rendered as
`rewardranker.json` says, followed by the program's (encoded apart, then joined, without an end token), padded on the
right.
"""
    return f"""# Reward model, pooling `{settings.pooling}`

Scores a program for a task: higher is more likely to be correct. Scores of different tasks don't compare.

{use}
The score is the {settings.pooling} of a linear head over all of the program's tokens.
`AutoModelForSequenceClassification` would read the last token alone, so the model type in `config.json` is one that it
refuses.
"""
