"""Constructs over numbers (elements and results)."""

from __future__ import annotations

from rewardranker.tasks.synthetic.constructs import Bug, Construct, Reduction, Source

SOURCES = (
    Source("list", "xs", "int", "numbers", ("in xs", "of xs", "in the list xs"), "xs", weight=4),
    Source(
        "even-positions",
        "xs",
        "int",
        "numbers",
        ("at even indices of xs", "at indices 0, 2, 4, ... of xs"),
        "xs[::2]",
        (Bug("xs[1::2]", 0.2),),
    ),
    Source(
        "first",
        "xs",
        "int",
        "numbers",
        ("in the first {k} items of xs", "among the first {k} of xs"),
        "xs[:{k}]",
        (
            Bug("xs[:{k} - 1]", 0.12),
            Bug("xs[{k}:]", 0.06),
        ),
    ),
    Source(
        "last",
        "xs",
        "int",
        "numbers",
        ("in the last {k} items of xs", "among the last {k} of xs"),
        "xs[-{k}:]",
        (Bug("xs[-{k}:-1]", 0.2),),
    ),
    Source(
        "skip-first",
        "xs",
        "int",
        "numbers",
        ("of xs after the first {k}", "in xs past the first {k}"),
        "xs[{k}:]",
        (Bug("xs[{k} + 1:]", 0.16),),
    ),
    Source("distinct", "xs", "int", "distinct numbers", ("in xs", "of xs"), "dict.fromkeys(xs)", (Bug("xs", 0.2),)),
    Source(
        "range",
        "n",
        "int",
        "integers",
        ("from 1 to n", "from 1 through n"),
        "range(1, n + 1)",
        (Bug("range(1, n)", 0.6),),
    ),
    Source(
        "below",
        "n",
        "int",
        "integers",
        ("from 0 below n", "from 0 up to but not including n"),
        "range(n)",
        (Bug("range(n + 1)", 0.1),),
    ),
    Source(
        "digits",
        "n",
        "int",
        "digits",
        ("of n", "of the integer n"),
        "map(int, str(abs(n)))",
        (Bug("map(int, str(n))", 0.6),),
    ),
)

FILTERS = (
    Construct("all", "int", "int", ("",), "", weight=3.5),
    Construct("even", "int", "int", ("that are even",), "{x} % 2 == 0", (Bug("{x} % 2", 0.08),)),
    Construct("odd", "int", "int", ("that are odd",), "{x} % 2 == 1", (Bug("{x} % 2 == 0", 0.08),)),
    Construct("above", "int", "int", ("greater than {k}", "above {k}"), "{x} > {k}", (Bug("{x} >= {k}", 0.12),)),
    Construct(
        "at-least", "int", "int", ("that are at least {k}", "not below {k}"), "{x} >= {k}", (Bug("{x} > {k}", 0.2),)
    ),
    Construct("below", "int", "int", ("less than {k}", "below {k}"), "{x} < {k}", (Bug("{x} <= {k}", 0.12),)),
    Construct(
        "at-most", "int", "int", ("that are at most {k}", "not above {k}"), "{x} <= {k}", (Bug("{x} < {k}", 0.62),)
    ),
    Construct(
        "between",
        "int",
        "int",
        ("between {k} and {m} inclusive", "from {k} to {m} inclusive"),
        "{k} <= {x} <= {m}",
        (
            Bug("{k} <= {x} < {m}", 0.45),
            Bug("{k} < {x} < {m}", 0.2),
        ),
    ),
    Construct(
        "multiple",
        "int",
        "int",
        ("divisible by {k}", "that are multiples of {k}"),
        "{x} % {k} == 0",
        (Bug("{x} // {k} == 0", 0.07),),
    ),
    Construct(
        "not-multiple", "int", "int", ("not divisible by {k}",), "{x} % {k} != 0", (Bug("{x} % {k} == 1", 0.15),)
    ),
    Construct(
        "not-equal", "int", "int", ("other than {k}", "different from {k}"), "{x} != {k}", (Bug("{x} == {k}", 0.07),)
    ),
    Construct(
        "ends-in",
        "int",
        "int",
        ("whose last digit is {k}", "ending in {k}"),
        "abs({x}) % 10 == {k}",
        (Bug("{x} % 10 == {k}", 0.65),),
    ),
    Construct("positive", "int", "int", ("that are positive",), "{x} > 0", (Bug("{x} >= 0", 0.15),)),
    Construct("far", "int", "int", ("more than {k} away from zero",), "abs({x}) > {k}", (Bug("{x} > {k}", 0.2),)),
)

# `{}` in the words of a map is what it is applied to.
MAPS = (
    Construct("same", "int", "int", ("",), "", weight=5),
    Construct("square", "int", "int", ("square {}",), "{x} * {x}", (Bug("{x} * 2", 0.06),)),
    Construct("times", "int", "int", ("multiply {} by {k}", "scale {} by {k}"), "{x} * {k}"),
    Construct("plus", "int", "int", ("add {k} to {}", "increase {} by {k}"), "{x} + {k}"),
    Construct("minus", "int", "int", ("subtract {k} from {}",), "{x} - {k}", (Bug("{k} - {x}", 0.15),)),
    Construct("from", "int", "int", ("from {k} subtract {}",), "{k} - {x}", (Bug("{x} - {k}", 0.2),)),
    Construct(
        "modulo", "int", "int", ("take {} modulo {k}", "reduce {} modulo {k}"), "{x} % {k}", (Bug("{x} // {k}", 0.06),)
    ),
    Construct(
        "divide", "int", "int", ("divide {} by {k}, rounding down",), "{x} // {k}", (Bug("int({x} / {k})", 0.3),)
    ),
    Construct(
        "cap", "int", "int", ("cap {} at {k}", "limit {} to at most {k}"), "min({x}, {k})", (Bug("max({x}, {k})", 0.2),)
    ),
    Construct("raise", "int", "int", ("raise {} to at least {k}",), "max({x}, {k})", (Bug("min({x}, {k})", 0.15),)),
    Construct(
        "distance", "int", "int", ("take the distance from {k} of {}",), "abs({x} - {k})", (Bug("{x} - {k}", 0.2),)
    ),
)

REDUCTIONS = (
    Reduction(
        "sum", "int", "int", ("the sum of", "the total of"), "sum({g})", loop="0; t += {e}", loop_share=0.15, weight=2
    ),
    Reduction(
        "count",
        "int",
        "int",
        ("the number of", "how many are"),
        "len({l})",
        (Bug("sum({g})", 0.06),),
        loop="0; t += 1",
        loop_share=0.15,
    ),
    Reduction(
        "product",
        "int",
        "int",
        ("the product of",),
        "",
        loop="1; t *= {e}",
        loop_bugs=(Bug("0; t *= {e}", 0.12),),
        loop_share=1,
    ),
    Reduction(
        "largest",
        "int",
        "int",
        ("the largest (0 if none) of", "the maximum (0 if none) of"),
        "max({p}, default=0)",
        (Bug("max({g})", 0.6),),
    ),
    Reduction(
        "smallest",
        "int",
        "int",
        ("the smallest (0 if none) of", "the minimum (0 if none) of"),
        "min({p}, default=0)",
        (Bug("min({g})", 0.2),),
    ),
    Reduction(
        "distinct", "int", "int", ("the number of distinct values among",), "len(set({g}))", (Bug("len({l})", 0.2),)
    ),
    Reduction("list", "int", "ints", ("a list of",), "{l}", weight=1.5),
    Reduction("sorted", "int", "ints", ("a sorted list of",), "sorted({g})"),
    Reduction(
        "descending", "int", "ints", ("a descending list of",), "sorted({p}, reverse=True)", (Bug("sorted({g})", 0.15),)
    ),
    Reduction(
        "first",
        "int",
        "int",
        ("the first (-1 if none) of",),
        "ys = {l}; ys[0] if ys else -1",
        (Bug("ys = {l}; ys[0]", 0.3),),
        post=False,
        weight=0.7,
    ),
    Reduction(
        "final",
        "int",
        "int",
        ("the last (-1 if none) of",),
        "ys = {l}; ys[-1] if ys else -1",
        (Bug("ys = {l}; ys[-1]", 0.4),),
        post=False,
        weight=0.7,
    ),
    Reduction(
        "mean",
        "int",
        "int",
        ("the floored mean (0 if none) of",),
        "ys = {l}; sum(ys) // len(ys) if ys else 0",
        (Bug("ys = {l}; sum(ys) // len(ys)", 0.3),),
        post=False,
        weight=0.7,
    ),
    Reduction(
        "spread",
        "int",
        "int",
        ("the spread (maximum - minimum, 0 if none) of",),
        "ys = {l}; max(ys) - min(ys) if ys else 0",
        (Bug("ys = {l}; max(ys) - min(ys)", 0.3),),
        post=False,
        weight=0.5,
    ),
)

POSTS = (
    Construct("keep", "int", "int", ("",), "{r}", weight=7),
    Construct("add", "int", "int", (", plus {k}", ", then add {k}"), "{r} + {k}"),
    Construct("scale", "int", "int", (", times {k}", ", then multiply by {k}"), "{r} * {k}"),
    Construct("remainder", "int", "int", (", modulo {k}", ", then take it modulo {k}"), "{r} % {k}"),
    Construct("exceeds", "int", "bool", (" and whether it exceeds {k}",), "{r} > {k}", (Bug("{r} >= {k}", 0.25),)),
    Construct("reaches", "int", "bool", (" and whether it is at least {k}",), "{r} >= {k}", (Bug("{r} > {k}", 0.3),)),
    Construct("capped", "int", "int", (", capped at {k}",), "min({r}, {k})", (Bug("max({r}, {k})", 0.3),)),
)

LIST_POSTS = (
    Construct("keep-list", "ints", "ints", ("",), "{r}", weight=3),
    Construct("head", "ints", "ints", (", only the first {k}",), "{r}[:{k}]", (Bug("{r}[:{k} - 1]", 0.15),)),
    Construct("tail", "ints", "ints", (", without the first",), "{r}[1:]", (Bug("{r}[:-1]", 0.15),)),
    Construct("backwards", "ints", "ints", (", reversed",), "{r}[::-1]"),
)
