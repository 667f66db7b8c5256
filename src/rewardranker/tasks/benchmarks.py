"""The table of benchmarks: name, variants, where their rows come from, and who reads them.

To add a benchmark, write a reader in a file of its own and add a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rewardranker.errors import ConfigError
from rewardranker.tasks import evalplus, humaneval, mbpp, multipl_e
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
    )
}
