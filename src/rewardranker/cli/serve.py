"""`rewardranker serve`: best-of-n, rerank and score over HTTP."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rewardranker.cli import common, plan

if TYPE_CHECKING:
    from rewardranker.config import Recipe
    from rewardranker.serving.options import ServeOptions
    from rewardranker.serving.server import Parts

KEYS_VARIABLE = "REWARDRANKER_API_KEYS"
UPSTREAM_KEY_VARIABLE = "REWARDRANKER_UPSTREAM_KEY"
RERANKER_KEY_VARIABLE = "REWARDRANKER_RERANKER_KEY"


@click.command(short_help="Best-of-n behind OpenAI's API; rerank and score")
@common.recipe_options
@click.option(
    "--reranker",
    required=True,
    metavar="PATH|URL",
    help="Reward model: a folder, a run directory, a hub name, or the URL of a `vllm serve` that has it.",
)
@click.option(
    "--reranker-files",
    metavar="PATH",
    help="With a URL: folder or run directory of the same reward model, for its tokenizer and settings.",
)
@click.option("--upstream", metavar="URL", help="OpenAI-compatible server that draws candidates: http://host:8000/v1")
@click.option("--upstream-model", metavar="NAME", help="Ask the upstream for this model, whatever a request says.")
@click.option("--model", metavar="PATH", help="Draw candidates in this process: folder, hub name, or `smollm2-135m`.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0: all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes a free one.")
@click.option(
    "--best-of", type=click.IntRange(min=1), default=8, show_default=True, help="Candidates, unless a request says."
)
@click.option("--max-best-of", type=click.IntRange(min=1), default=64, show_default=True, help="Most that one may say.")
@click.option(
    "--logprob-weight",
    type=float,
    default=0.0,
    help="Add so many times a candidate's summed log-probability to its score; the model server must tell it.",
)
@click.option(
    "--adaptive",
    metavar="FILE",
    help="Draw fewer candidates where fewer are enough: what `rewardranker calibrate` wrote, or its folder.",
)
@click.option(
    "--verify", is_flag=True, help="Let requests have programs run against tests, in the judge's isolation (judge.*)."
)
@click.option("--truncate-prompt", is_flag=True, help="Cut tasks too long for the reward model, at their start.")
@click.option("--batch-tokens", type=click.IntRange(min=1), default=8192, show_default=True, help="Scored together.")
@click.option(
    "--max-requests", type=click.IntRange(min=1), default=512, show_default=True, help="Under way; more get a 429."
)
@click.option(
    "--max-waiting",
    type=click.IntRange(min=1),
    default=4096,
    show_default=True,
    help="Programs waiting to be scored; then 429.",
)
@click.option(
    "--max-body-mb", type=click.FloatRange(0, min_open=True), default=8.0, show_default=True, help="Of one request."
)
@click.option(
    "--max-documents", type=click.IntRange(min=1), default=1000, show_default=True, help="In one rerank request."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=600.0,
    show_default=True,
    help="Seconds for one request.",
)
@click.option(
    "--drain", type=click.FloatRange(0), default=60.0, show_default=True, help="Seconds to finish in when stopped."
)
@click.option("--cors", multiple=True, metavar="ORIGIN", help="Let pages of this origin call the server. Repeatable.")
@click.option("--log-text", is_flag=True, help="Write prompts and answers into the log.")
def command(
    config: str | None,
    overrides: tuple[str, ...],
    dry_run: bool,
    reranker: str,
    reranker_files: str | None,
    upstream: str | None,
    upstream_model: str | None,
    model: str | None,
    host: str,
    port: int,
    best_of: int,
    max_best_of: int,
    logprob_weight: float,
    adaptive: str | None,
    verify: bool,
    truncate_prompt: bool,
    batch_tokens: int,
    max_requests: int,
    max_waiting: int,
    max_body_mb: float,
    max_documents: int,
    timeout: float,
    drain: float,
    cors: tuple[str, ...],
    log_text: bool,
) -> None:
    """Serve the best of several candidates behind OpenAI's API, and the reranker itself.

    Candidates come from --upstream or --model; with neither, only rerank and score are answered. Clients need a key if
    the environment variable REWARDRANKER_API_KEYS holds some, separated by commas; the upstream's key is read from
    REWARDRANKER_UPSTREAM_KEY, that of a remote reranker from REWARDRANKER_RERANKER_KEY. Stopped by Ctrl-C or SIGTERM,
    the server finishes what runs.
    """
    if upstream and model:
        raise click.UsageError("give --upstream or --model, not both")
    if upstream_model and not upstream:
        raise click.UsageError("--upstream-model needs --upstream")
    if logprob_weight and adaptive:
        raise click.UsageError("the rule of --adaptive is for scores of the reward model alone: no --logprob-weight")
    if best_of > max_best_of:
        raise click.UsageError(f"--best-of {best_of} is above --max-best-of {max_best_of}")
    recipe = common.load(config, overrides)
    from rewardranker.serving.options import ServeOptions

    options = ServeOptions(
        host=host,
        port=port,
        best_of=best_of,
        max_best_of=max_best_of,
        max_documents=max_documents,
        max_body_bytes=int(max_body_mb * 2**20),
        max_requests=max_requests,
        max_waiting=max_waiting,
        batch_tokens=batch_tokens,
        timeout=timeout,
        drain=drain,
        api_keys=tuple(key.strip() for key in os.environ.get(KEYS_VARIABLE, "").split(",") if key.strip()),
        cors_origins=cors,
        log_text=log_text,
    )
    names = _Names(
        reranker, reranker_files, upstream, upstream_model, model, logprob_weight, adaptive, verify, truncate_prompt
    )
    if dry_run:
        plan.show(recipe, names.plan(options), ("judge", "launch"))
        return
    _say_what_happens()
    from rewardranker.serving.server import build_app, run_server

    run_server(build_app(names.load(recipe), options), options)


class _Names:
    """What is to be served, by name."""

    def __init__(
        self,
        reranker: str,
        reranker_files: str | None,
        upstream: str | None,
        upstream_model: str | None,
        model: str | None,
        logprob_weight: float,
        adaptive: str | None,
        verify: bool,
        truncate_prompt: bool,
    ) -> None:
        self.is_remote = reranker.startswith(("http://", "https://"))
        if self.is_remote != (reranker_files is not None):
            raise click.UsageError(
                "--reranker URL needs --reranker-files, the folder of the same reward model"
                if self.is_remote
                else "--reranker-files is for --reranker URL"
            )
        self.reranker, self.files = reranker, reranker_files or reranker
        self.upstream, self.upstream_model, self.model = upstream, upstream_model, model
        self.logprob_weight = logprob_weight
        self.adaptive, self.verify, self.truncate_prompt = adaptive, verify, truncate_prompt

    def plan(self, options: ServeOptions) -> Iterator[str]:
        """What would be served, in words.

        Raises:
            RewardRankerError: something is missing or not installed.
        """
        from rewardranker.serving.upstream import check_url

        import_module("rewardranker.serving.server")  # its packages are there
        for url in filter(None, (self.upstream, self.reranker if self.is_remote else None)):
            check_url(url)
        ranked_by = self.reranker + (f" + {self.logprob_weight:g} log p" if self.logprob_weight else "")
        drawn = f"the best of {options.best_of} candidates from {self.upstream or self.model}"
        yield f"would serve on http://{options.host}:{options.port}: " + (
            f"{drawn}, ranked by {ranked_by}" if self.upstream or self.model else f"scores of {self.reranker}"
        )
        yield f"API keys: {len(options.api_keys) or 'none, so anyone who reaches the address may ask'}"
        yield from plan.models({"--reranker": self.files, "--model": self.model})
        if Path(self.files).is_dir():
            from rewardranker.reward.ranker import find_reward_model

            yield f"--reranker: {find_reward_model(self.files)}"
        if self.adaptive:
            from rewardranker.serving.adaptive import AdaptiveStop

            rule = AdaptiveStop.from_file(self.adaptive)
            yield f"--adaptive: {rule.first_step} candidates at first, {rule.step} more while they are worth it"
        if self.verify:
            yield "--verify: requests may have programs run"

    def load(self, recipe: Recipe) -> Parts:
        """
        Raises:
            RewardRankerError: a model or a file can't be loaded.
        """
        from rewardranker.models import load_causal_lm
        from rewardranker.reward import RewardRanker
        from rewardranker.serving.adaptive import AdaptiveStop
        from rewardranker.serving.remote_scorer import RemoteReranker
        from rewardranker.serving.server import Parts
        from rewardranker.serving.upstream import check_url

        if self.upstream:
            check_url(self.upstream)
        device = common.start(recipe)
        remote = ranker = None
        if self.is_remote:
            remote = RemoteReranker(
                self.reranker, self.files, os.environ.get(RERANKER_KEY_VARIABLE), self.truncate_prompt
            )
        else:
            ranker = RewardRanker.from_pretrained(self.reranker, device)
            if self.truncate_prompt:
                ranker.options = ranker.options.model_copy(update={"truncate_prompt": True})
        model = None
        if self.model:
            model = (*load_causal_lm(self.model, recipe.model.dtype, device), Path(self.model).name)
        return Parts(
            reranker=ranker,
            reranker_name=Path(self.files).resolve().name,
            remote_reranker=remote,
            upstream=self.upstream,
            upstream_key=os.environ.get(UPSTREAM_KEY_VARIABLE),
            upstream_model=self.upstream_model,
            model=model,
            stopping=AdaptiveStop.from_file(self.adaptive) if self.adaptive else None,
            logprob_weight=self.logprob_weight,
            judge=recipe.judge if self.verify else None,
            judge_workers=recipe.launch.judge_workers,
        )


def _say_what_happens() -> None:
    """A line for each request and each event, on standard error."""
    import logging

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("rewardranker.serving").setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.INFO)
