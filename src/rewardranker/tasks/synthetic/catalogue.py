"""The tables of constructs. The rates of the bugs are what makes the corpus worth learning from.

Some idioms are wrong most of the time (an inclusive upper bound left out, an empty input forgotten), so a generator
that imitates the corpus prefers the wrong one there; most are wrong now and then. Which is which depends on the
construct alone, so a reranker can learn it from the verdicts of a few programs and carry it to unseen compositions.
"""

from __future__ import annotations

from rewardranker.tasks.synthetic import numbers, texts

SOURCES = (*numbers.SOURCES, *texts.SOURCES)

FILTERS = {"number": numbers.FILTERS, "word": texts.WORD_FILTERS, "character": texts.CHARACTER_FILTERS}
"""By what the elements are."""

MAPS = {"number": numbers.MAPS, "word": texts.WORD_MAPS, "character": texts.CHARACTER_MAPS}
"""By what the elements are."""

REDUCTIONS = {"int": numbers.REDUCTIONS, "str": texts.REDUCTIONS}
"""By the type of the elements."""

POSTS = {"int": numbers.POSTS, "ints": numbers.LIST_POSTS, "str": texts.POSTS, "strs": texts.LIST_POSTS}
"""By the type of the reduction's result."""

SWAP_RATE = 0.15
"""Share of the corpus' occurrences in which the filter is applied on the wrong side of the map."""
