"""Parts of one function's text: its parameters, their names, its body.

Not guaranteed: bodies and parameters in unusual spelling (lambdas, macros); they count as not found.
"""

from __future__ import annotations

import re

from rewardranker.generation.source_items import Item, Syntax


def header(bare: str, entry_point: str) -> tuple[str, int, int] | None:
    """Text of the parameters, where they end, and where the body's bracket or the text that stands for it begins."""
    name = re.search(rf"(?<![\w-]){re.escape(entry_point)}\s*(?:<[^()]*>|\[[^()]*\])?\s*", bare)
    if name is None:
        return None
    if bare[name.end() : name.end() + 1] != "(":
        brace = re.match(r"[^={;(]*", bare[name.end() :])
        place = name.end() + (brace.end() if brace else 0)
        return ("", place, place) if bare[place : place + 1] == "{" else None
    depth = 0
    for place in range(name.end(), len(bare)):
        depth += (bare[place] == "(") - (bare[place] == ")")
        if depth == 0:
            break
    else:
        return None
    between = re.match(r"[^{=;]*(?:=(?!>)\s*)?", bare[place + 1 :])
    return bare[name.end() + 1 : place], place + 1, place + 1 + (between.end() if between else 0)


def block(function: Item, after: int) -> str | None:
    """The body with its brackets; an expression that stands for one gets them."""
    rest = function.bare[after:]
    between = re.match(r"[^{=;]*", rest)
    place = after + (between.end() if between else 0)
    text, bare = function.text, function.bare
    if bare.startswith("=>", place):  # C#: an expression in place of a body
        expression = text[place + 2 : len(bare.rstrip())].strip().removesuffix(";")
        return "{ return " + expression + "; }"
    if bare.startswith("=", place):  # Scala: the body is an expression, with or without brackets
        expression = text[place + 1 :].strip()
        start = place + 1 + len(bare[place + 1 :]) - len(bare[place + 1 :].lstrip())
        whole = bare.startswith("{", start) and _closing(bare, start) == len(bare.rstrip()) - 1
        return expression if whole else "{\n" + text[place + 1 :].strip("\n") + "\n}"
    if not bare.startswith("{", place):
        return None
    end = _closing(bare, place)
    return None if end is None or bare[end + 1 :].strip(" \n\t;") else text[place : end + 1]


def _closing(bare: str, start: int) -> int | None:
    depth = 0
    for place in range(start, len(bare)):
        depth += (bare[place] == "{") - (bare[place] == "}")
        if depth == 0:
            return place
    return None


def parameters(text: str, syntax: Syntax) -> list[str]:
    """Names in the text of a parameter list; `mut` belongs to the name, as the body relies on it."""
    nested = True
    while nested:  # generic types and calls have commas of their own
        flat = re.sub(r"<[^<>]*>|\([^()]*\)|\[[^\[\]]*\]|\{[^{}]*\}", " ", text)
        nested, text = flat != text, flat
    names = []
    for part in text.split(","):
        part = part.split("=")[0]
        words = re.findall(r"\w+", part)
        if not words:
            continue
        if syntax.parameter == "last":
            names.append(words[-1])
        elif ":" in part:
            named = re.findall(r"\w+", part.split(":")[0])
            names.append(" ".join(named) if "mut" in named else named[-1] if named else "")
        else:
            names.append(words[0])
    return names
