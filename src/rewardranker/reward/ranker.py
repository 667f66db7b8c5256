"""The trained reward model as people use it: scores for (prompt, program) pairs, programs ranked best first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewardranker.errors import ModelError
from rewardranker.progress import Progress, Silent
from rewardranker.prompts import encode_prompt
from rewardranker.reward.data import encode_row
from rewardranker.reward.model import (
    SETTINGS,
    RewardSettings,
    cast_layers,
    load_reward_model,
    row_scores,
    save_reward_model,
)
from rewardranker.training import length_limit
from rewardranker.types import ProgressReporter


class RewardRanker:
    """Scores programs; a `Scorer`.

    Attributes:
        model: the sequence classification model with one label.
        tokenizer: its tokenizer.
        options: pooling, prompt rendering and length limit.
    """

    def __init__(self, model: Any, tokenizer: Any, options: RewardSettings) -> None:
        self.model, self.tokenizer, self.options = model, tokenizer, options

    @classmethod
    def from_pretrained(cls, path: str | Path, device: str = "auto", dtype: str = "auto") -> RewardRanker:
        """Load a reward model.

        Args:
            path: a reward model's folder, a run directory (its last round's reward model), or a hub name.
            dtype: precision of the layers, such as `float32`; the head is always float32. `auto`: bfloat16 on a GPU
                that computes in it, else as stored.

        Raises:
            ModelError: there is no reward model, or its head is missing or of another shape.
        """
        model, tokenizer, options = load_reward_model(find_reward_model(path), device)
        if dtype == "auto" and model.device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
            dtype = "bfloat16"
        if dtype != "auto":
            cast_layers(model, getattr(torch, dtype))
        return cls(model, tokenizer, options)

    def save_pretrained(self, path: str | Path) -> None:
        """Write model, tokenizer and options into a folder that `from_pretrained` reads."""
        save_reward_model(self.model, self.tokenizer, self.options, path)

    def predict(
        self, pairs: Sequence[tuple[str, str]], batch_tokens: int = 8192, show_progress: bool = False
    ) -> NDArray[np.float32]:
        """Scores of (prompt, completion) pairs, in their order; equal pairs are scored once.

        Args:
            batch_tokens: tokens of a forward pass, padding included. It changes scores by rounding alone.
            show_progress: print progress to standard error.

        Returns:
            float32 `[len(pairs)]`; higher is better. Scores of different prompts don't compare.

        Raises:
            DataError: a pair is longer than `options.max_length`; names its index.
        """
        distinct: dict[tuple[str, str], int] = {}
        where = [distinct.setdefault((prompt, completion), len(distinct)) for prompt, completion in pairs]
        rows = self._encode(list(distinct))
        return self.score_rows(rows, batch_tokens, Progress() if show_progress else Silent())[where]

    @torch.inference_mode()
    def score_rows(
        self,
        rows: Sequence[tuple[Sequence[int], int]],
        batch_tokens: int = 8192,
        progress: ProgressReporter | None = None,
    ) -> NDArray[np.float32]:
        """Scores of rows that are tokens already, in their order; what rows of a prompt share is read once.

        Args:
            rows: tokens of prompt and program, and where the program starts, as `data.encode_row` makes them.
            batch_tokens: as for `predict`.
            progress: told how many rows are done.

        Returns:
            float32 `[len(rows)]`.
        """
        progress = progress or Silent()
        distinct: dict[tuple[tuple[int, ...], int], int] = {}
        where = [distinct.setdefault((tuple(tokens), start), len(distinct)) for tokens, start in rows]
        tokens, starts = [row for row, _ in distinct], [start for _, start in distinct]
        progress.start("scoring", len(tokens), "programs")
        scores = np.zeros(len(tokens), dtype=np.float32)
        done = 0
        self.model.eval()
        for batch, found in row_scores(self.model, tokens, starts, self.options.pooling, batch_tokens):
            scores[batch] = found.cpu().numpy()
            done += len(batch)
            progress.update(done)
        progress.finish()
        return scores[where]

    def rank(
        self, query: str, documents: Sequence[str], top_k: int | None = None, return_documents: bool = False
    ) -> list[dict[str, Any]]:
        """Programs for one task, best first; equal scores keep their order.

        Args:
            query: the task's prompt.
            documents: completions of it.
            top_k: return the best so many; None: all.
            return_documents: add the completion under `text`.

        Returns:
            One dict each: `corpus_id` (index into `documents`), `score`, and `text` when asked for.

        Example (SmolLM2-135M after three passes over six additions like this one):
            >>> ranker.rank("def add0(a, b):\\n    return", [" b\\n", " a + b\\n", " a - b\\n"], top_k=2)
            [{'corpus_id': 1, 'score': 8.689598083496094}, {'corpus_id': 2, 'score': -3.1382570266723633}]
        """
        scores = self.predict([(query, document) for document in documents])
        order = np.argsort(-scores, kind="stable")[:top_k].tolist()
        return [
            {"corpus_id": i, "score": float(scores[i])} | ({"text": documents[i]} if return_documents else {})
            for i in order
        ]

    def _encode(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], int]]:
        options = self.options
        limit = length_limit(options.max_length, self.model)
        prompts: dict[str, list[int]] = {}
        rows = []
        for index, (prompt, completion) in enumerate(pairs):
            if prompt not in prompts:
                prompts[prompt] = encode_prompt(self.tokenizer, prompt, options.prompt)
            rows.append(
                encode_row(
                    self.tokenizer,
                    prompts[prompt],
                    completion,
                    options.prompt,
                    limit,
                    options.truncate_prompt,
                    f"pair {index} ({completion[:40]!r}...)",
                )
            )
        return rows


def find_reward_model(path: str | Path) -> Path:
    """The folder of a reward model: `path` itself, the last round's in a run directory, or a download from the hub.

    Raises:
        ModelError: there is none.
    """
    folder = Path(path)
    if folder.is_dir():
        if (folder / "config.json").exists():
            return folder
        found = [
            file.parent for pattern in ("reward", "round-*/reward") for file in folder.glob(f"{pattern}/{SETTINGS}")
        ]
        if not found:
            raise ModelError(
                f"{folder} has neither a reward model (config.json) nor a finished one in round-*/reward: give a "
                "reward model's folder, or let the run come to the end of its first reward training"
            )
        return max(found, key=_by_number)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", str(path)) and not str(path).startswith("."):
        from huggingface_hub import snapshot_download

        try:
            return Path(snapshot_download(str(path)))
        except Exception as error:
            raise ModelError(f"reward model '{path}': no such folder, and not on the hub: {error}") from error
    raise ModelError(f"reward model '{path}': no such folder")


def _by_number(folder: Path) -> list[tuple[int, str]]:
    """Sort key that puts round 10 after round 9."""
    return [(int(digits or -1), text) for text, digits in re.findall(r"(\D*)(\d*)", str(folder))]
