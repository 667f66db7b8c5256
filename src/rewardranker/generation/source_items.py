"""Source text of languages other than Python, split into its top-level items by brackets and indentation.

An item is a definition, a statement or a directive, with the comments, attributes and template heads above it.

Not guaranteed: a parse. Comments and strings are known by their usual forms (no here-documents, no `q{}` of Perl), a
definition's name by its usual spelling. Where brackets don't match, or a definition by `end` is not laid out as usual,
`split` says so by returning None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

_C_COMMENT = r"//[^\n]*|/\*.*?(?:\*/|\Z)"
_HASH_COMMENT = r"(?:^|(?<=[\s;]))#[^\n]*"
_DOUBLE = r'"(?:\\.|[^"\\])*"'
_SINGLE = r"'(?:\\.|[^'\\])*'"
_CHARACTER = r"'(?:\\[^\n']{1,9}|\\'|[^'\\\n])'"  # short, so that Rust's lifetimes and 1'000 are none
_TRIPLE = r'""".*?"""'
_BACKTICK = r"`(?:\\.|[^`\\])*`"
_PATTERN = r"(?<=[(,=:\[!&|?;{}])[ \t]*/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n\[])+/"


@dataclass(frozen=True)
class Syntax:
    """What splitting needs to know of a language."""

    comment: str
    strings: str
    closing: Literal["}", "end", ")"] = "}"
    """What ends a function."""
    brackets: str = "([{}])"
    """The ones that match in well-formed code."""
    parameter: Literal["", "first", "last"] = ""
    """Where the name stands in a typed parameter; empty: parameters have no types."""
    calls_like_definitions: bool = False
    """Functions are defined without a word such as `function`."""


SYNTAXES: dict[str, Syntax] = {
    "cpp": Syntax(
        _C_COMMENT,
        rf'R"(?P<raw>\w*)\(.*?\)(?P=raw)"|{_DOUBLE}|{_CHARACTER}',
        parameter="last",
        calls_like_definitions=True,
    ),
    "java": Syntax(_C_COMMENT, f"{_TRIPLE}|{_DOUBLE}|{_CHARACTER}", parameter="last", calls_like_definitions=True),
    "csharp": Syntax(
        _C_COMMENT, rf'\$?@\$?"(?:""|[^"])*"|{_DOUBLE}|{_CHARACTER}', parameter="last", calls_like_definitions=True
    ),
    "d": Syntax(
        rf"{_C_COMMENT}|/\+.*?\+/", f"{_DOUBLE}|{_BACKTICK}|{_CHARACTER}", parameter="last", calls_like_definitions=True
    ),
    "rust": Syntax(_C_COMMENT, rf'r(?P<raw>#*)".*?"(?P=raw)|{_DOUBLE}|{_CHARACTER}', parameter="first"),
    "go": Syntax(_C_COMMENT, rf"{_DOUBLE}|`[^`]*`|{_CHARACTER}", parameter="first"),
    "swift": Syntax(_C_COMMENT, f"{_TRIPLE}|{_DOUBLE}", parameter="first"),
    "scala": Syntax(_C_COMMENT, f"{_TRIPLE}|{_DOUBLE}|{_CHARACTER}", parameter="first"),
    "javascript": Syntax(_C_COMMENT, f"{_DOUBLE}|{_SINGLE}|{_BACKTICK}|{_PATTERN}"),
    "typescript": Syntax(_C_COMMENT, f"{_DOUBLE}|{_SINGLE}|{_BACKTICK}|{_PATTERN}", parameter="first"),
    "php": Syntax(f"{_C_COMMENT}|{_HASH_COMMENT}", f"{_DOUBLE}|{_SINGLE}"),
    "perl": Syntax(rf"{_HASH_COMMENT}|^=\w+.*?^=cut\b[^\n]*", f"{_DOUBLE}|{_SINGLE}", brackets="{}"),
    "bash": Syntax(_HASH_COMMENT, rf"\\.|{_DOUBLE}|'[^']*'", brackets="{}", calls_like_definitions=True),
    "r": Syntax(r"#[^\n]*", f"{_DOUBLE}|{_SINGLE}"),
    "lua": Syntax(r"--\[\[.*?\]\]|--[^\n]*", rf"\[\[.*?\]\]|{_DOUBLE}|{_SINGLE}", closing="end"),
    "ruby": Syntax(rf"{_HASH_COMMENT}|^=begin.*?^=end", f"{_DOUBLE}|{_SINGLE}", closing="end"),
    "julia": Syntax(_HASH_COMMENT, f"{_TRIPLE}|{_DOUBLE}|{_CHARACTER}", closing="end"),
    "racket": Syntax(r";[^\n]*|#\|.*?\|#", rf"#\\\S|{_DOUBLE}", closing=")"),
}
_OTHER_NAMES = {
    "c++": "cpp",
    "cc": "cpp",
    "cxx": "cpp",
    "c#": "csharp",
    "cs": "csharp",
    "dlang": "d",
    "golang": "go",
    "jl": "julia",
    "js": "javascript",
    "node": "javascript",
    "pl": "perl",
    "rb": "ruby",
    "rkt": "racket",
    "rs": "rust",
    "sh": "bash",
    "shell": "bash",
    "ts": "typescript",
}

_DIRECTIVE = re.compile(r"\s*(#include|#pragma|#define|#!\[|using\b|import\b|use\b|extern crate\b)")
_FILE_HEAD = re.compile(r"\s*(#!/|package\b|#lang\b|<\?php|\?>|declare\s*\(\s*strict_types|namespace\s+[\w\\]+\s*;)")
_JOINS_NEXT = re.compile(r"\s*(template\s*<.*>|@\w+.*|#\[.*\]|\[\w+.*\])\s*")
_CONTINUES = re.compile(r"\s*([{})\]]|end\b|else\b|elseif\b|elsif\b|rescue\b|ensure\b|catch\b|finally\b|then\b)")
_VARIABLE = r"\b(?:const|let|var|val|local|my|our|lazy val|static)\s+(?:mut\s+)?[$@%(]?(\w+)"
_NAMES = (
    r"\b(?:class|struct|enum|union|interface|trait|type|record|object|module|mod|namespace|protocol|extension|using)"
    r"\s+(\w+)",
    r"\bimpl\b(?:<[^{]*?>)?\s+(?:[^{]*?\bfor\s+)?(\w+)",
    r"#define\s+(\w+)|\bmacro_rules!\s*(\w+)",
    r"\b(?:function|func|fn|def|sub|macro)\b\s*(?:\([^)]*?(\w+)\)\s*)?(?:self\.)?[*&]?(\w+[?!]?)",
    _VARIABLE,
    r"^[^({\n]*?[$@%]?(\w+)(?:\[[^\]]*\])*\s*(?:<-|:=|=(?![=>]))",
    r"\(define[\w-]*\s+\(?([^\s()]+)|\(struct\s+([^\s()]+)",
)
_CALL_SHAPED = re.compile(r"\b(?!(?:static|public|private|const|async)\b)([\w.]+)\s*(?:<[^<>()]*>)?\s*\(")
_DECLARATION = re.compile(r"[\w\s<>,\[\]:*&]*?\b(\w+)(?:\[[^\]]*\])*\s*;")


@dataclass(frozen=True, slots=True)
class Item:
    """One top-level piece of source text."""

    text: str
    bare: str
    """The text, as long, with comments and strings blanked."""
    names: frozenset[str] = field(default_factory=frozenset)
    """What it defines, as far as its spelling tells."""

    @property
    def is_directive(self) -> bool:
        """An import or the like, which belongs to the top of a file."""
        return _DIRECTIVE.match(self.bare.lstrip()) is not None and "=" not in self.bare.split("(")[0]

    @property
    def is_file_head(self) -> bool:
        """What stands once in a file, and which a prompt has of its own: `package`, `<?php`, `#lang`, ..."""
        return _FILE_HEAD.match(self.text.lstrip()) is not None


def syntax_of(language: str) -> Syntax | None:
    """None for a language that is not in the table."""
    return SYNTAXES.get(_OTHER_NAMES.get(language.lower(), language.lower()))


def blank(code: str, syntax: Syntax, strings: bool = True) -> str:
    """The code with comments, and if asked strings, as spaces: every other character stays where it is."""
    found = re.compile(f"(?P<comment>{syntax.comment})|{syntax.strings}", re.M | re.S)

    def spaces(match: re.Match[str]) -> str:
        if match[0].startswith("#!") or not (strings or match["comment"]):
            return match[0]
        return re.sub(r"[^\n]", " ", match[0])

    return found.sub(spaces, code)


def split(code: str, syntax: Syntax) -> list[Item] | None:
    """The items of a file, or of what stands between the brackets of a class; their texts joined are the code.

    Returns:
        None where brackets don't match.
    """
    lines = code.splitlines(keepends=True)
    bare_lines = blank(code, syntax).splitlines(keepends=True)
    margin = min((len(line) - len(line.lstrip()) for line in bare_lines if line.strip()), default=0)
    starts: list[int] = []
    depth, pending = 0, 0  # `pending`: first line of the comments and attributes that belong to the next item
    joins = False
    for number, bare in enumerate(bare_lines):
        indent = len(bare) - len(bare.lstrip())
        if bare.strip():
            if depth == 0 and not joins and indent <= margin and not _CONTINUES.match(bare):
                starts.append(pending if starts else 0)
            joins = depth == 0 and _JOINS_NEXT.fullmatch(bare.rstrip()) is not None
            pending = number + 1
        depth += _depth(bare, syntax)
        if depth < 0:
            return None
    if depth != 0:
        return None
    ends = [*starts[1:], len(lines)] if starts else []
    return [_item("".join(lines[a:b]), "".join(bare_lines[a:b]), syntax) for a, b in zip(starts, ends, strict=True)]


def function_end(body: str, syntax: Syntax) -> int | None:
    """Where the bracket stands that closes what was open before this text; None: nothing closes it."""
    depth = 0
    for place, char in enumerate(blank(body, syntax)):
        depth += _depth(char, syntax)
        if depth < 0:
            return place
    return None


def final_depth(body: str, syntax: Syntax) -> int:
    """Brackets that a text leaves open."""
    return _depth(blank(body, syntax), syntax)


def _depth(bare: str, syntax: Syntax) -> int:
    half = len(syntax.brackets) // 2
    return sum((char in syntax.brackets[:half]) - (char in syntax.brackets[half:]) for char in bare)


def _item(text: str, bare: str, syntax: Syntax) -> Item:
    # The line of the definition itself: attributes and template heads stand above it.
    above = [line for line in bare.split("\n") if line.strip()]
    while len(above) > 1 and _JOINS_NEXT.fullmatch(above[0].rstrip()):
        above = above[1:]
    header = "\n".join(above).strip()
    end = re.search(r"[{\n]\s*\S", header)
    line = header[: end.start() + 1] if end and syntax.closing == "}" else header.split("\n")[0]
    patterns = [p for p in _NAMES if p is not _VARIABLE or not syntax.calls_like_definitions]
    found = {name for pattern in patterns for match in re.findall(pattern, line, re.M) for name in _flat(match)}
    if syntax.calls_like_definitions and not found:
        has_body = header.endswith("}") or re.search(r"\)\s*=>", header)
        shaped = _CALL_SHAPED.search(line) if has_body else _DECLARATION.fullmatch(header)
        found = {shaped[1]} if shaped else set()
    unpacked = re.match(r"\s*(?:const|let|var)\s*[{\[]([\w\s,:]+)[}\]]\s*=", bare)  # const { a, b } = ...
    if unpacked:
        found |= set(re.findall(r"\w+", unpacked[1]))
    return Item(text, bare, frozenset(found - {"", "namespace"}))


def _flat(match: str | tuple[str, ...]) -> tuple[str, ...]:
    return (match,) if isinstance(match, str) else match
