"""Constructs over words and characters."""

from __future__ import annotations

from rewardranker.tasks.synthetic.constructs import Bug, Construct, Reduction, Source

SOURCES = (
    Source(
        "words",
        "s",
        "str",
        "words",
        ("of s", "in s", "in the text s"),
        "s.split()",
        (Bug('s.split(" ")', 0.15),),
        elements="word",
        weight=2.5,
    ),
    Source("characters", "s", "str", "characters", ("of s", "in s"), "s", elements="character", weight=1.5),
    Source(
        "skip-character",
        "s",
        "str",
        "characters",
        ("of s after the first", "in s past the first"),
        "s[1:]",
        (Bug("s[:-1]", 0.12),),
        elements="character",
        weight=0.7,
    ),
)

WORD_FILTERS = (
    Construct("every", "str", "str", ("",), "", weight=1.5),
    Construct(
        "longer",
        "str",
        "str",
        ("longer than {k}", "with more than {k} letters"),
        "len({x}) > {k}",
        (Bug("len({x}) >= {k}", 0.15),),
    ),
    Construct(
        "no-longer", "str", "str", ("with at most {k} letters",), "len({x}) <= {k}", (Bug("len({x}) < {k}", 0.25),)
    ),
    Construct(
        "has-e", "str", "str", ('containing "e"', 'that have an "e"'), '"e" in {x}', (Bug('"e" not in {x}', 0.06),)
    ),
    Construct(
        "vowel-start",
        "str",
        "str",
        ("starting with a vowel of either case",),
        '{x}[0] in "aeiouAEIOU"',
        (Bug('{x}[0] in "aeiou"', 0.55),),
    ),
    Construct("capital", "str", "str", ("starting with a capital",), "{x}[0].isupper()", (Bug("{x}.isupper()", 0.15),)),
)

CHARACTER_FILTERS = (
    WORD_FILTERS[0],
    Construct(
        "vowel",
        "str",
        "str",
        ("that are vowels of either case",),
        '{x} in "aeiouAEIOU"',
        (Bug('{x} in "aeiou"', 0.25),),
    ),
    Construct("letter", "str", "str", ("that are letters",), "{x}.isalpha()", (Bug("{x}.isalnum()", 0.12),)),
    Construct("digit", "str", "str", ("that are digits",), "{x}.isdigit()", (Bug("{x}.isalnum()", 0.08),)),
    Construct("nonspace", "str", "str", ("that are not spaces",), '{x} != " "', (Bug("{x}.isalpha()", 0.15),)),
    Construct("upper-case", "str", "str", ("in upper case",), "{x}.isupper()", (Bug("{x}.isalpha()", 0.1),)),
)

# `{}` in the words of a map is what it is applied to.
_MAPS = (
    Construct("same-text", "str", "str", ("",), "", weight=2),
    Construct(
        "upper",
        "str",
        "str",
        ("upper-case {}", "capitalise every letter of {}"),
        "{x}.upper()",
        (Bug("{x}.title()", 0.1),),
    ),
    Construct("repeat", "str", "str", ("repeat {} {k} times",), "{x} * {k}"),
)

WORD_MAPS = (
    *_MAPS,
    Construct("length", "str", "int", ("take the lengths of {}",), "len({x})"),
    Construct("reverse", "str", "str", ("reverse {}",), "{x}[::-1]"),
    Construct("prefix", "str", "str", ("cut {} to {k} letters",), "{x}[:{k}]", (Bug("{x}[:{k} - 1]", 0.2),)),
    Construct("last-letter", "str", "str", ("take the last letters of {}",), "{x}[-1]", (Bug("{x}[0]", 0.15),)),
)

CHARACTER_MAPS = (
    *_MAPS,
    Construct("lower", "str", "str", ("lower-case {}",), "{x}.lower()"),
    Construct("swap", "str", "str", ("swap the case of {}",), "{x}.swapcase()"),
)

REDUCTIONS = (
    Reduction("join", "str", "str", ("the concatenation of",), '"".join({g})', weight=1.5),
    Reduction("dashes", "str", "str", ("a dash-separated string of",), '"-".join({g})', (Bug('"".join({g})', 0.06),)),
    Reduction("number", "str", "int", ("the number of", "how many are"), "len({l})"),
    Reduction(
        "kinds", "str", "int", ("the number of distinct values among",), "len(set({g}))", (Bug("len({l})", 0.2),)
    ),
    Reduction("texts", "str", "strs", ("a list of",), "{l}"),
    Reduction("alphabetic", "str", "strs", ("a sorted list of",), "sorted({g})"),
    Reduction(
        "greatest",
        "str",
        "str",
        ('the alphabetically last ("" if none) of',),
        'max({p}, default="")',
        (Bug("max({g})", 0.2),),
    ),
    Reduction(
        "longest",
        "str",
        "str",
        ('the longest (first of ties, "" if none) of',),
        'max({p}, key=len, default="")',
        (Bug("max({p}, key=len)", 0.55),),
    ),
)

POSTS = (
    Construct("keep-text", "str", "str", ("",), "{r}", weight=2),
    Construct("head-text", "str", "str", (", cut to {k} characters",), "{r}[:{k}]", (Bug("{r}[:{k} - 1]", 0.2),)),
    Construct("mirror", "str", "str", (", reversed",), "{r}[::-1]"),
    Construct("size", "str", "int", (" and its length",), "len({r})"),
)

LIST_POSTS = (
    Construct("keep-texts", "strs", "strs", ("",), "{r}", weight=3),
    Construct("head-texts", "strs", "strs", (", only the first {k}",), "{r}[:{k}]", (Bug("{r}[:{k} - 1]", 0.15),)),
    Construct("backwards-texts", "strs", "strs", (", reversed",), "{r}[::-1]"),
)
