"""Cuts test text of the judge's languages into tokens: literals, words, brackets, operators; comments are dropped.

One regular expression a language, tried left to right at each position. It is as exact as finding an assertion's
expected value needs, and no more: it does NOT know heredocs, quote operators such as Perl's `q()`, or code
interpolated into strings; what follows such text may be cut wrongly, and then no assertion is recognised there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

_DOUBLE = r'"(?:[^"\\]|\\.)*"'
_SINGLE = r"'(?:[^'\\]|\\.)*'"
_TRIPLE = r'"""(?:[^\\]|\\.)*?"""'
_BASH_DOUBLE = r'"(?:[^"\\$]|\\.|\$\([^()]*\)|\$)*"'
_CHAR = r"'(?:\\u\{[0-9a-fA-F]+\}|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\.|[^\\'\n])'"
_RACKET_CHAR = r"#\\(?:\w+|.)"
_BACKQUOTED = r"`(?:[^`\\]|\\.)*`"
_GO_RAW = r"`[^`]*`"
_JS_REGEX = r"(?<=[(,=:!&|])\s*/(?![/*])(?:[^/\\\n\[]|\\.|\[[^\]\n]*\])+/\w*"
_SLASHES = r"//[^\n]*|/\*.*?\*/"
_HASH = r"#[^\n]*"
_WORD = r"[^\W\d]\w*"
_NUMBER = r"(?:0[xX][\da-fA-F_]+|0[bB][01_]+|\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?)(?:[^\W\d]\w*)?"
_LISP_WORD = r"""[^\s()\[\]{}",'`;]+"""
_LISP_NUMBER = r"""[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?(?=[\s()\[\]{}",'`;]|$)"""
_OPERATOR = r"===|!==|==|!=|<=|>=|=>|->|&&|\|\||::|\S"

_NOTHING = r"(?!)"


@dataclass(frozen=True)
class _Lexis:
    """What comments and literals look like. `raw` strings are recognised and never changed."""

    comment: str = _SLASHES
    raw: str = _NOTHING
    string: str = _DOUBLE
    char: str = _NOTHING
    number: str = _NUMBER
    word: str = _WORD


_C_LIKE = _Lexis(char=_CHAR)
_JAVASCRIPT = _Lexis(string=f"{_DOUBLE}|{_SINGLE}", raw=f"{_BACKQUOTED}|{_JS_REGEX}")
_LEXES = {
    "cpp": _Lexis(raw=r'R"\(.*?\)"', char=_CHAR),
    "cs": _Lexis(raw=r'\$?@\$?"(?:[^"]|"")*"|\$"(?:[^"\\]|\\.)*"', char=_CHAR),
    "d": _Lexis(comment=rf"{_SLASHES}|/\+.*?\+/", raw=rf'{_GO_RAW}|r"[^"]*"', char=_CHAR),
    "go": _Lexis(raw=_GO_RAW, char=_CHAR),
    "java": _Lexis(raw=_TRIPLE, char=_CHAR),
    "jl": _Lexis(comment=rf"#=.*?=#|{_HASH}", raw=_TRIPLE, char=_CHAR),
    "js": _JAVASCRIPT,
    "lua": _Lexis(comment=r"--\[\[.*?\]\]|--[^\n]*", raw=r"\[\[.*?\]\]|\[=\[.*?\]=\]", string=f"{_DOUBLE}|{_SINGLE}"),
    "php": _Lexis(comment=rf"{_SLASHES}|#(?!\[)[^\n]*", string=f"{_DOUBLE}|{_SINGLE}"),
    "pl": _Lexis(comment=r"(?<!\$)#[^\n]*", string=f"{_DOUBLE}|{_SINGLE}"),
    "r": _Lexis(comment=_HASH, raw=r'[rR]"\(.*?\)"', string=f"{_DOUBLE}|{_SINGLE}", word=r"[A-Za-z.][\w.]*"),
    "rb": _Lexis(comment=_HASH, string=f"{_DOUBLE}|{_SINGLE}", word=r"[^\W\d]\w*\??"),
    "rkt": _Lexis(comment=r"#\|.*?\|#|;[^\n]*", char=_RACKET_CHAR, number=_LISP_NUMBER, word=_LISP_WORD),
    "rs": _Lexis(raw=r'b?r"[^"]*"|b?r#".*?"#', char=_CHAR),
    "scala": _Lexis(raw=_TRIPLE, char=_CHAR),
    "sh": _Lexis(comment=r"(?<!\S)#[^\n]*", string=rf"{_BASH_DOUBLE}|'[^']*'"),
    "swift": _Lexis(raw=_TRIPLE),
    "ts": _JAVASCRIPT,
}

LANGUAGES = frozenset(_LEXES)
"""MultiPL-E's codes of the languages that can be cut."""


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is `raw`, `string`, `char`, `number`, `word`, `open`, `close` or `operator`."""

    kind: str
    text: str
    start: int
    """Offset of its first character."""

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def scan(language: str, text: str) -> list[Token]:
    """The tokens of a test text, in order.

    Args:
        language: one of `LANGUAGES`.
    """
    tokens = []
    for match in _pattern(language).finditer(text):
        kind = match.lastgroup
        if kind is not None and kind != "comment":
            tokens.append(Token(kind, match.group().lstrip(), match.end() - len(match.group().lstrip())))
    return tokens


def partners(tokens: list[Token]) -> dict[int, int]:
    """Position of each opening bracket -> position of the bracket that closes it. Unbalanced ones are left out."""
    closing = {"(": ")", "[": "]", "{": "}"}
    pairs: dict[int, int] = {}
    waiting: list[int] = []
    for i, token in enumerate(tokens):
        if token.kind == "open":
            waiting.append(i)
        elif token.kind == "close":
            if waiting and closing[tokens[waiting[-1]].text] == token.text:
                pairs[waiting.pop()] = i
            else:
                waiting.clear()  # A stray bracket: what is open around it can't be trusted.
    return pairs


@cache
def _pattern(language: str) -> re.Pattern[str]:
    lexis = _LEXES[language]
    kinds = {
        "comment": lexis.comment,
        "raw": lexis.raw,
        "string": lexis.string,
        "char": lexis.char,
        "number": lexis.number,
        "word": lexis.word,
        "open": r"[(\[{]",
        "close": r"[)\]}]",
        "operator": _OPERATOR,
    }
    return re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in kinds.items()), re.DOTALL)
