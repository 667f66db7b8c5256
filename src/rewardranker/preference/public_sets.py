"""`load_preferences`: public preference sets as groups, for training or measuring a reward model without a judge.

| name | from | columns |
|---|---|---|
| `acecodepair:default`, `acecodepair:32B` | `TIGER-Lab/AceCodePair-300K` (arXiv 2502.01718) | instruction, input, chosen, rejected, id |
| `acecode` | `TIGER-Lab/AceCode-87K` | id, question, inferences {completion, pass_rate, model_name} |
| `themis:ASPECT`, `themis:all` | `project-themis/Themis-CodePreference` (arXiv 2605.00754) | system, input, chosen, rejected, language, aspect, source, idx |
| `rewardbench:hep-LANGUAGE`, `rewardbench:hep` | `allenai/reward-bench`, split `filtered` (arXiv 2403.13787) | id, prompt, chosen, rejected, subset |

Each with `:FILE` behind it reads a local file of the same rows; any other name is the path of groups or plain pairs.

What is done to the rows: pairs with one prompt become one group (see `files.py`); an answer with exactly one fenced
block is the code in it; AceCode's answers with a pass rate of at least 0.8 are correct and those above 0 and at most
0.4 wrong (arXiv 2502.01718), the others are left out. Themis's `system` names the aspects to judge by and
is left out of the prompt: our choice, as a reward model here reads the task alone. Its language and aspect are numbers
on the hub and names elsewhere.

Left out, counted, and told as a warning: pairs of equal answers, and pairs that are there the other way round, too.
Not guaranteed: that the preferences are about correctness (only `themis:functional-correctness`, AceCode and RewardBench
say so), or that a set holds none of the tasks that a model is measured on.
"""  # noqa: E501

from __future__ import annotations

import hashlib
import itertools
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rewardranker.errors import ConfigError, DataError
from rewardranker.preference.files import Pair, groups_of, read_groups
from rewardranker.runs import from_row
from rewardranker.sources import HubSet, read_rows
from rewardranker.types import Candidate, PreferenceGroup

_log = logging.getLogger(__name__)

CORRECT_FROM = 0.8
WRONG_TO = 0.4
ASPECTS = (
    "Readability and Maintainability",
    "Runtime Efficiency",
    "Security Hardness",
    "Functional Correctness",
    "Memory Efficiency",
    "Helpfulness",
    "Harmlessness",
)
"""In the order of the hub's numbers."""
LANGUAGES = ("JavaScript", "Python", "Ruby", "C++", "C", "Go", "Java", "C#", "NL")
HEP = tuple(f"hep-{language}" for language in ("cpp", "go", "java", "js", "python", "rust"))
_FENCED = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def load_preferences(name: str, limit: int | None = None) -> list[PreferenceGroup]:
    """The groups of this name, in a fixed order; `limit` keeps the first so many groups.

    Raises:
        ConfigError: unknown name or variant, or a limit below 1.
        DataError: a file is unreadable, a row is broken, or no row is of this variant.
        MissingExtraError, ModelError: see `sources.read_rows`.
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"preferences '{name}': the limit must be at least 1 (got {limit})")
    source, _, rest = name.partition(":")
    if source not in SETS:
        return read_groups(name)[:limit]
    variants, read = SETS[source]
    variant, _, file = rest.partition(":") if variants else ("", "", rest)
    if variants and variant not in variants:
        raise ConfigError(f"{source}:{variant}: no such preferences; known: {', '.join(variants)}")
    groups = list(itertools.islice(read(variant, file or None), limit))
    if not groups:
        raise DataError(f"{name}: no preferences of this kind in {file or 'the set'}")
    return groups


# --- the sets -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AceCodePairRow:
    """The columns of AceCodePair-300K that are used."""

    chosen: str
    rejected: str
    instruction: str = ""
    input: str = ""


@dataclass(frozen=True, slots=True)
class ThemisRow:
    """The columns of Themis-CodePreference that are used; `language` and `aspect` are numbers or names."""

    input: str
    chosen: str
    rejected: str
    language: object
    aspect: object


@dataclass(frozen=True, slots=True)
class RewardBenchRow:
    """The columns of RewardBench that are used."""

    id: str
    prompt: str
    chosen: str
    rejected: str
    subset: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in AceCode-87K."""

    completion: str
    pass_rate: float = 0.0
    model_name: str = ""


@dataclass(frozen=True, slots=True)
class AceCodeRow:
    """The columns of AceCode-87K that are used."""

    id: str
    question: str
    inferences: tuple[Answer, ...]


def _acecodepair(variant: str, file: str | None) -> Iterator[PreferenceGroup]:
    hub = HubSet("TIGER-Lab/AceCodePair-300K", "train", variant)
    pairs = []
    for number, (where, raw) in enumerate(read_rows(hub, file)):
        row = from_row(raw, AceCodePairRow, where)
        prompt = "\n\n".join(part.strip() for part in (row.instruction, row.input) if part.strip())
        if not prompt:
            raise DataError(f"{where}: columns 'instruction' and 'input' are both empty")
        pairs.append(Pair(f"acecodepair/{_digest(prompt)}", prompt, _code(row.chosen), _code(row.rejected), number))
    yield from _grouped(pairs, f"acecodepair:{variant}")


def _themis(variant: str, file: str | None) -> Iterator[PreferenceGroup]:
    pairs = []
    for number, (where, raw) in enumerate(read_rows(HubSet("project-themis/Themis-CodePreference", "train"), file)):
        row = from_row(raw, ThemisRow, where)
        aspect, language = (
            _label(row.aspect, ASPECTS, "aspect", where),
            _label(row.language, LANGUAGES, "language", where),
        )
        if variant in ("all", _slug(aspect)):
            task_id = f"themis/{_slug(aspect)}/{language}/{_digest(row.input)}"
            pairs.append(Pair(task_id, row.input.strip(), _code(row.chosen), _code(row.rejected), number))
    yield from _grouped(pairs, f"themis:{variant}")


def _rewardbench(variant: str, file: str | None) -> Iterator[PreferenceGroup]:
    pairs = []
    for number, (where, raw) in enumerate(read_rows(HubSet("allenai/reward-bench", "filtered"), file)):
        row = from_row(raw, RewardBenchRow, where)
        if row.subset == variant or (variant == "hep" and row.subset in HEP):
            task_id = f"rewardbench/{row.subset}/{row.id}"
            pairs.append(Pair(task_id, row.prompt, _code(row.chosen), _code(row.rejected), number))
    yield from _grouped(pairs, f"rewardbench:{variant}")


def _acecode(_: str, file: str | None) -> Iterator[PreferenceGroup]:
    one_class = 0
    for where, raw in read_rows(HubSet("TIGER-Lab/AceCode-87K", "train"), file):
        row = from_row(raw, AceCodeRow, where)
        answers = [
            answer for answer in row.inferences if answer.pass_rate >= CORRECT_FROM or 0 < answer.pass_rate <= WRONG_TO
        ]
        candidates = {_code(answer.completion): answer for answer in reversed(answers)}
        group = PreferenceGroup(
            f"acecode-answers/{row.id}",
            row.question.strip(),
            tuple(
                Candidate(
                    code, answer.pass_rate >= CORRECT_FROM, answer.pass_rate, origin="acecode", model=answer.model_name
                )
                for code, answer in reversed(candidates.items())
            ),
        )
        if group.pairs:
            yield group
        else:
            one_class += 1
    if one_class:
        _log.warning("acecode: %d questions left out: no answer is correct, or none is wrong", one_class)


SETS: Mapping[str, tuple[tuple[str, ...], Callable[[str, str | None], Iterator[PreferenceGroup]]]] = {
    "acecodepair": (("default", "32B"), _acecodepair),
    "acecode": ((), _acecode),
    "themis": (("all", *(aspect.lower().replace(" ", "-") for aspect in ASPECTS)), _themis),
    "rewardbench": (("hep", *HEP), _rewardbench),
}
"""Variants and reader of each set."""


# --- rows to groups -----------------------------------------------------------------------------------------------


def _grouped(pairs: Iterable[Pair], name: str) -> Iterator[PreferenceGroup]:
    """Groups of the pairs with one task and prompt, in the order of their first pairs."""
    left_out: Counter[str] = Counter()
    seen: set[tuple[str, str, str]] = set()
    by_task: dict[tuple[str, str], list[Pair]] = {}
    for pair in pairs:
        if pair.chosen == pair.rejected:
            left_out["both answers are equal"] += 1
        elif (pair.task_id, pair.rejected, pair.chosen) in seen:
            left_out["the same pair is there the other way round"] += 1
        else:
            seen.add((pair.task_id, pair.chosen, pair.rejected))
            by_task.setdefault((pair.task_id, pair.prompt), []).append(pair)
    for reason, count in left_out.items():
        _log.warning("%s: %d pairs left out: %s", name, count, reason)
    for same in by_task.values():
        yield from (group for group, _ in groups_of(same, name))


def _code(answer: str) -> str:
    """The code of an answer with one fenced block; any other answer as it is."""
    answer = answer.replace("\r\n", "\n")
    blocks = _FENCED.findall(answer)
    return str(blocks[0]) if len(blocks) == 1 else answer


def _label(value: Any, names: tuple[str, ...], column: str, where: str) -> str:
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    if value in names:
        return str(value)
    raise DataError(
        f"{where}: column '{column}': expected one of {', '.join(names)} or its number, got {str(value)[:40]!r}"
    )


def _slug(text: str) -> str:
    return text.lower().replace(" ", "-")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
