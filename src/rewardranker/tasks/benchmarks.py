"""The table of benchmarks: name, variants, where their rows come from, and who reads them.

To add a benchmark, write a reader in a file of its own and add a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rewardranker.errors import ConfigError
from rewardranker.tasks import (
    acecode,
    apps,
    bigcodebench,
    code_contests,
    evalplus,
    humaneval,
    livecodebench,
    mbpp,
    multipl_e,
    rows,
)
from rewardranker.types import Task


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark.

    Attributes:
        name: as users type it, before the first colon.
        read: the tasks of a variant, from a file or, without one, from where they are published.
        variants: what may follow the name and a colon, as shown to users; empty for a benchmark of one set.
        check: raises `ConfigError` for a variant that there is not.
        on_hub: whether reading without a file asks the Hugging Face hub.
        title: in a few words.
    """

    name: str
    read: Callable[[str, str | None], Iterator[Task]]
    title: str
    variants: tuple[str, ...] = ()
    check: Callable[[str], None] | None = None
    on_hub: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """What users may type: the name with each variant."""
        return tuple(f"{self.name}:{variant}" for variant in self.variants) or (self.name,)

    def split(self, rest: str) -> tuple[str, str | None]:
        """Variant and file of what follows the name and its colon.

        Raises:
            ConfigError: no such variant.
        """
        variant, _, file = rest.partition(":") if self.variants else ("", "", rest)
        if self.check is not None:
            self.check(variant)
        elif self.variants and variant not in self.variants:
            raise ConfigError(f"{self.name}:{variant}: no such set; known: {', '.join(self.variants)}")
        return variant, file or None


def _refuse(parse: Callable[[str], object]) -> Callable[[str], None]:
    """A check that only asks whether a variant can be parsed."""

    def check(variant: str) -> None:
        parse(variant)

    return check


BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark("humaneval", lambda _, file: humaneval.humaneval_tasks(file), "HumanEval", on_hub=False),
        Benchmark("humaneval-plus", lambda _, file: evalplus.humaneval_plus_tasks(file), "HumanEval+"),
        Benchmark("mbpp", mbpp.mbpp_tasks, "MBPP, all tasks", tuple(mbpp.SPLITS), mbpp.check_split),
        Benchmark(
            "mbpp-sanitized",
            lambda split, file: mbpp.mbpp_tasks(split, file, sanitized=True),
            "MBPP, the sanitized tasks",
            tuple(mbpp.SPLITS),
            mbpp.check_split,
        ),
        Benchmark("mbpp-plus", lambda _, file: evalplus.mbpp_plus_tasks(file), "MBPP+"),
        Benchmark(
            "multipl-e",
            multipl_e.multipl_e_tasks,
            "MultiPL-E",
            ("humaneval-LANGUAGE", "mbpp-LANGUAGE"),
            multipl_e.check_variant,
        ),
        Benchmark(
            "livecodebench",
            livecodebench.livecodebench_tasks,
            "LiveCodeBench",
            ("release_v6", "v6", "@FROM..TO"),
            _refuse(livecodebench.selection),
        ),
        Benchmark("apps", apps.apps_tasks, "APPS", apps.SPLITS),
        Benchmark("taco", apps.taco_tasks, "TACO", apps.SPLITS),
        Benchmark(
            "code-contests",
            code_contests.code_contests_tasks,
            "CodeContests",
            (*code_contests.SPLITS, *(f"test-{language}" for language in code_contests.LANGUAGES)),
            _refuse(code_contests.parse_variant),
        ),
        Benchmark("bigcodebench", bigcodebench.bigcodebench_tasks, "BigCodeBench", bigcodebench.VARIANTS),
        Benchmark("acecode", lambda _, file: acecode.acecode_tasks(file), "AceCode-87K"),
        Benchmark(
            "rows",
            rows.row_tasks,
            "any file, columns stated",
            ("FIELD=COLUMN,...:FILE",),
            _refuse(rows.parse_columns),
            on_hub=False,
        ),
    )
}
