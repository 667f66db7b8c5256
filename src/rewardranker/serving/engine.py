"""Best-of-n for one request: draw, extract the code, score different programs once, rank, answer with the best.

Guarantees: what the reranker reads is the task's text and the code of the answer, as in its training (see `tasktext`
and `generation.extraction`); candidates that fail cost the request only themselves, and the result says how many;
work ends when the request is cancelled or its time is over.

Not guaranteed: an answer when no candidate came; the error is then the model server's last one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from rewardranker.generation.extraction import extract_code, has_code
from rewardranker.serving.candidates import Group, Pool, answer_text
from rewardranker.serving.errors import ApiError, from_model_server, out_of_time
from rewardranker.serving.metrics import Metrics
from rewardranker.serving.scoring import Scorer
from rewardranker.serving.source import Api, Drawn, Source, total_usage
from rewardranker.serving.verification import Verifier
from rewardranker.serving.wire import clean
from rewardranker.types import Json

_DRAWING_SHARE = 0.9
"""Of a request's time: what has not come by then has failed, and the rest is for scoring."""
log = logging.getLogger("rewardranker.serving")


class Stopping(Protocol):
    """Decides when enough candidates have been drawn (adaptive best-of-n)."""

    @property
    def first_step(self) -> int:
        """Candidates drawn before the first decision."""
        ...

    @property
    def step(self) -> int:
        """Candidates drawn between two decisions."""
        ...

    def should_stop(self, scores: Sequence[float], programs: Sequence[str], limit: int) -> bool:
        """
        Args:
            scores: of the candidates that could be scored, in the order drawn; at least one.
            programs: their code, equal ones repeated.
            limit: candidates that may be drawn in all.
        """
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """One task of one request."""

    api: Api
    body: Json
    """What goes to the source: the request without what only this server reads."""
    task: str
    """The task as the reranker reads it."""
    n: int
    best_of: int
    language: str = "python"
    entry_point: str | None = None
    tests: tuple[str, ...] = ()
    verify: bool = False
    adaptive: bool = True

    @property
    def wants_logprobs(self) -> bool:
        """The client asked for them (0 of completions does), not only the ranking."""
        asked = self.body.get("logprobs")
        return asked is not None and asked is not False


@dataclass(slots=True)
class Result:
    """The candidates of a job, ranked."""

    job: Job
    pool: Pool
    best: list[int]
    """Numbers of the candidates to answer with, in order."""
    usage: Json
    about: Json
    failed: int = 0
    early: bool = False
    warnings: list[str] = field(default_factory=list)

    @property
    def best_score(self) -> float | None:
        ranked = self.pool.ranked()
        return ranked[0].score if ranked else None


class Engine:
    """Serves jobs; owns the source, the scorer and the verifier."""

    def __init__(
        self,
        source: Source | None,
        scorer: Scorer,
        metrics: Metrics,
        *,
        stopping: Stopping | None = None,
        verifier: Verifier | None = None,
        logprob_weight: float = 0.0,
    ) -> None:
        """
        Args:
            logprob_weight: added to a score so many times is the summed log-probability of the candidate's tokens.
            source: None: nothing is drawn, the server only scores.
            stopping: None: all candidates are drawn at once.
        """
        self.source, self.scorer, self.metrics = source, scorer, metrics
        self.stopping, self.verifier, self._logprob_weight = stopping, verifier, logprob_weight

    async def run(self, job: Job, seconds: float) -> Result:
        """
        Raises:
            ApiError: no candidate came, or the time is over.
        """
        try:
            async with asyncio.timeout(seconds) as limit:
                return await self._run(job, seconds)
        except TimeoutError:
            if not limit.expired():
                raise
            raise out_of_time(seconds) from None

    async def close(self) -> None:
        if self.source is not None:
            await self.source.close()
        await self.scorer.close()
        if self.verifier is not None:
            await self.verifier.close()

    async def _run(self, job: Job, seconds: float) -> Result:
        assert self.source is not None
        draw_until = monotonic() + _DRAWING_SHARE * seconds
        pool, drawn, early = Pool(), Drawn(), False
        # At temperature 0 all candidates are the same.
        wanted = job.n if job.body.get("temperature") == 0 else job.best_of
        stopping = self.stopping if job.adaptive else None
        asked, body = 0, self._with_logprobs(job)
        while asked < wanted:
            size = wanted - asked
            if stopping is not None:
                size = min(size, stopping.step if asked else max(stopping.first_step, job.n))
            more = await self.source.draw(job.api, body, size, asked, max(draw_until - monotonic(), 0.01))
            asked += size
            _join(drawn, more)
            await self._take_in(job, pool, more.choices)
            if stopping is not None and asked < wanted and pool.choices and _enough(stopping, pool, job.n, wanted):
                early = True
                break
            if more.failures and not more.choices:
                break  # asking a server that fails for more makes it worse
        failed = len(drawn.failures)
        usage = total_usage(drawn.usages)
        self.metrics.drawn(len(pool.choices), len(pool.groups), failed, early, usage)
        if not pool.choices:
            if drawn.late:
                raise out_of_time(seconds)
            raise (
                from_model_server(drawn.failures[-1])
                if drawn.failures
                else ApiError(502, "the model server gave no candidate", code="upstream_failed")
            )
        weighed = not self._logprob_weight or pool.weigh(self._logprob_weight)
        result = Result(job, pool, pool.best(job.n), usage, drawn.about, failed, early)
        result.warnings = self._warnings(result, drawn)
        if not weighed:
            result.warnings.append("the model server tells no log-probabilities: ranked by the reward model alone")
        return result

    async def _take_in(self, job: Job, pool: Pool, choices: list[Json]) -> None:
        """Extract, run and score what was drawn."""
        assert self.source is not None
        # Reading long answers takes a while, so it happens beside the event loop.
        codes = await asyncio.to_thread(_codes, job, choices, self.source.plain)
        new = [group for group in pool.add(choices, codes) if group.kind == "code"]
        if not new:
            return
        if job.verify and self.verifier is not None:
            await self.verifier.run(job, pool, new)
        to_score = [group for group in new if group.passed is not False]
        if job.verify and not any(group.passed for group in pool.groups):
            # Nothing has passed yet: all of it is ranked, also what was left out before.
            to_score = [group for group in pool.groups if group.kind == "code" and group.score is None]
        await self._score(job, to_score)

    def _with_logprobs(self, job: Job) -> Json:
        """The body for the source, which asks for log-probabilities where scores need them."""
        if not self._logprob_weight or job.wants_logprobs:
            return job.body
        return job.body | {"logprobs": True if job.api == "chat" else 1}

    async def _score(self, job: Job, groups: list[Group]) -> None:
        if not groups:
            return
        scores = await self.scorer.score([(job.task, group.code) for group in groups])
        for group, score in zip(groups, scores, strict=True):
            group.score = group.reward = score.value
            group.problem = score.problem

    def _warnings(self, result: Result, drawn: Drawn) -> list[str]:
        pool, told = result.pool, []
        if result.failed:
            reason = from_model_server(drawn.failures[-1]).message
            told.append(f"{result.failed} candidates did not come: {reason}")
        problems = [group for group in pool.groups if group.problem]
        if problems:
            told.append(f"{len(problems)} programs could not be scored: {problems[0].problem}")
        if pool.ranked_by() == "order" and not problems:
            told.append("no candidate has code, so the first one drawn is the answer")
        return told


def _codes(job: Job, choices: Sequence[Json], plain: bool) -> list[str | None]:
    """The code in each choice; None: there is none."""
    return [code_in(answer_text(choice), job.api, job.entry_point, job.language, plain) for choice in choices]


def code_in(text: str, api: Api, entry_point: str | None, language: str, plain: bool) -> str | None:
    """The code in an answer, as it was taken from the samples that the reranker learned from.

    A completion, and whatever a model without a chat template writes, is code as it stands, unless it has a fence.
    """
    text = clean(text)
    if not text.strip():
        return None
    if (plain or api == "completions") and "```" not in text and "~~~" not in text:
        return text
    return extract_code(text, entry_point, language) if has_code(text, entry_point, language) else None


def _enough(stopping: Stopping, pool: Pool, n: int, limit: int) -> bool:
    """Whether drawing may end: there are n to answer with, and a further candidate is not worth its price."""
    if len(pool.choices) < n:
        return False
    scores, programs = pool.scored()
    if not scores:
        return not any(group.kind == "code" for group in pool.groups)  # prose and tool calls are not ranked by score
    if any(group.passed is False for group in pool.groups) and not any(group.passed for group in pool.groups):
        return False  # tests say that none is right yet
    return stopping.should_stop(scores, programs, limit)


def _join(drawn: Drawn, more: Drawn) -> None:
    drawn.choices += more.choices
    drawn.failures += more.failures
    drawn.usages += more.usages
    drawn.about = more.about | drawn.about
    drawn.late |= more.late
