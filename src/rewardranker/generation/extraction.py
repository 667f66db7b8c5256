"""The code in a chat model's answer, and the program that the judge runs.

Which block is chosen, from best to worst: one that defines the entry point; one that is not marked as something else
than a program (shell, JSON, output, ...); one that parses; one that defines a function or class; the longest; the
last. Blocks are never joined: later ones mostly repeat or call earlier ones.

Not guaranteed: finding code in prose of other languages than Python when it is not fenced; the whole answer is then
the code.
"""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from rewardranker.generation.functions import assemble_function
from rewardranker.types import Task

_FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`\n]*)$")
_NOT_PROGRAMS = re.compile(
    r"bash|sh|shell|zsh|console|terminal|te?xt|plaintext|out(put)?|json|ya?ml|toml|xml|html|diff|markdown|md|pycon|"
    r"doctest|csv|ini|log"
)
_SHELLS = {"bash", "sh", "shell", "zsh"}
_CODE_START = re.compile(
    r"(async def|def|class|import|from|@|if|for|while|with|try|[A-Za-z_][\w.\[\]]*(: *[\w\[\], .|]+)? *[-+*/]?=)"
)
_DIRECTIVE = re.compile(r"\s*(#include|#!|using |import |package |use |open |extern crate |<\?php|\(require|library\()")
_NOT_TYPES = (
    "return|new|await|assert|else|and|or|not|case|in|print|echo|puts|throw|yield|when|if|while|do|is|to|the|call"
)
_PROSE_LINES = 400  # longer answers without a fence are not searched line by line


def extract_code(answer: str, entry_point: str | None, language: str = "python") -> str:
    """The code in a chat answer.

    A fence may be of backticks or tildes, indented (its indentation is taken off), unclosed, or of any language.
    Without a fence, and in Python, it is the longest run of lines that parses and looks like code; without such a
    run, the answer.

    Args:
        answer: what the model wrote.
        entry_point: the function the task asks for, if it names one.
        language: the task's language.

    Returns:
        The code, without blank lines around it; the indentation of its first line is kept.
    """
    answer = answer.replace("\r\n", "\n")
    blocks = [block for block in _blocks(answer) if block.code.strip()]
    if blocks:
        ranked = sorted(enumerate(blocks), key=lambda item: (_rank(item[1], entry_point, language), item[0]))
        return _strip_blank_lines(ranked[-1][1].code)
    answer = "\n".join(line for line in answer.split("\n") if not _FENCE.match(line))
    if language == "python":
        answer = _longest_run(answer.split("\n"), entry_point) or answer
    return _strip_blank_lines(answer)


def has_code(answer: str, entry_point: str | None, language: str = "python") -> bool:
    """Whether code can be told from prose in an answer: a fence with something in it, or a run of lines that is Python.

    Of other languages without a fence nothing is known, so the whole answer counts as code.
    """
    answer = answer.replace("\r\n", "\n")
    if any(block.code.strip() for block in _blocks(answer)):
        return True
    lines = [line for line in answer.split("\n") if not _FENCE.match(line)]
    return language != "python" or _longest_run(lines, entry_point) is not None


def assemble_program(task: Task, code: str) -> str:
    """The complete source for extracted code.

    Code that defines the entry point (or answers a task without one) stands for itself; what the task's prompt gives
    before the entry point and the code lacks (imports, helpers, constants) is put before it. Other code is a
    function's body: it continues the prompt, with the indentation that makes the whole compile. A prompt that is
    prose is never part. For functions of other languages than Python see `functions`.
    """
    if task.language != "python":
        defined = task.entry_point is not None and defines(code, task.entry_point, task.language)
        program = assemble_function(task, code, defined)
        if program is not None:
            return program
        if task.entry_point is None or defined:
            lacking = [line for line in task.prompt.split("\n") if _DIRECTIVE.match(line) and line.strip() not in code]
            return "".join(line + "\n" for line in lacking) + code
        return task.prompt + code
    if task.entry_point is None or defines(code, task.entry_point) or not defines(task.prompt, task.entry_point):
        return _with_preamble(task, code)
    return _with_body(task.prompt, code)


def defines(code: str, name: str, language: str = "python") -> bool:
    """Whether code defines this function, class or variable; judged by its text, so broken code counts too."""
    word = re.escape(name)
    if language == "python":
        return (
            re.search(rf"^[ \t]*((async[ \t]+)?def|class)[ \t]+{word}\b|^{word}[ \t]*(:[^=\n]+)?=[^=]", code, re.M)
            is not None
        )
    typed = (
        rf"(?<!\w)(?!({_NOT_TYPES})\b)\w[\w>\[\]*&:<,]*[ \t*&]+{word}\s*[({{<]"  # a return type or `function` in front
    )
    named = rf"^\s*((export|const|let|var|local|my)\s+)*\$?{word}\s*(<-|::|:=|=[^=]|\(\)\s*{{)"
    lisp = rf"\(define\s+\(?{word}\b"
    return re.search(rf"{typed}|{named}|{lisp}", code, re.M) is not None


# --- fenced blocks ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Block:
    language: str
    code: str


def _blocks(answer: str) -> Iterator[_Block]:
    """Fenced blocks in order (CommonMark's rules, but with any indentation); the last may be unclosed."""
    opened: re.Match[str] | None = None
    lines: list[str] = []
    for line in answer.split("\n"):
        fence = _FENCE.match(line)
        if opened is None:
            opened, lines = fence, []
        elif fence and fence["fence"].startswith(opened["fence"]) and not fence["info"].strip():
            yield _block(opened, lines)
            opened = None
        else:
            lines.append(line)
    if opened is not None:
        yield _block(opened, lines)


def _block(opened: re.Match[str], lines: list[str]) -> _Block:
    width = len(opened["indent"])
    code = "\n".join(line[width:] if not line[:width].strip() else line for line in lines)
    info = re.match(r"[\s{.]*([\w+#-]*)", opened["info"])
    return _Block(info[1].lower() if info else "", code)


def _rank(block: _Block, entry_point: str | None, language: str) -> tuple[bool, bool, bool, bool, int]:
    tree = _parse(block.code) if language == "python" else None
    has_definitions = tree is not None and any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in tree.body
    )
    return (
        entry_point is not None and defines(block.code, entry_point, language),
        _may_be_program(block.language, language) and not block.code.lstrip().startswith(">>>"),
        tree is not None,
        has_definitions,
        # Among blocks that define the entry point the last wins whatever its length: drafts come before answers.
        0 if entry_point is not None and defines(block.code, entry_point, language) else len(block.code.strip()),
    )


def _may_be_program(marked: str, language: str) -> bool:
    return not _NOT_PROGRAMS.fullmatch(marked) or {marked, language} <= _SHELLS


# --- code without a fence -----------------------------------------------------------------------------------------


def _longest_run(lines: list[str], entry_point: str | None) -> str | None:
    """The run of lines that parses, looks like code, and (if any does) defines the entry point; the longest of them."""
    best: tuple[bool, int] = (False, 0)
    found = None
    starts = [i for i, line in enumerate(lines[:_PROSE_LINES]) if _CODE_START.match(line)]
    covered = 0
    for start in starts:
        if start < covered:
            continue  # inside a run that parsed
        for end in _run_ends(lines, start):
            code = "\n".join(lines[start:end])
            tree = _parse(code)
            if tree is not None and _looks_like_code(tree):
                rank = (entry_point is not None and defines(code, entry_point), len(code.strip()))
                if rank > best:
                    best, found = rank, code
                covered = end
                break
    if found is None and any(line.startswith((" ", "\t")) for line in lines):
        return _bare_body(lines)
    return found


def _run_ends(lines: list[str], start: int) -> Iterator[int]:
    """Where a run may end, longest first: at the text's end, or before a line that is not indented."""
    last = min(len(lines), start + _PROSE_LINES)
    yield last
    for end in range(last - 1, start, -1):
        if lines[end] and not lines[end][0].isspace():
            yield end


def _looks_like_code(tree: ast.Module) -> bool:
    """Prose may parse too (`Sure`); code defines, imports, assigns or branches."""
    plain = (ast.Expr, ast.Pass)
    return any(not isinstance(node, plain) for node in tree.body)


def _bare_body(lines: list[str]) -> str | None:
    """An indented function body on its own."""
    body = [line for line in lines if not line.strip() or line[0].isspace()]
    code = "\n".join(body)
    return code if _compiles("def f():\n" + code) else None


# --- programs -----------------------------------------------------------------------------------------------------


def _with_preamble(task: Task, code: str) -> str:
    """Code with what the prompt gives before the entry point and the code lacks in front."""
    prompt = _parse(task.prompt) or _parse(task.prompt.rstrip() + "\n    pass\n")
    tree = _parse(code)
    if prompt is None:
        return code
    defined = {name for node in (tree.body if tree else []) for name in _bound(node)}
    lacking = []
    for node in prompt.body:
        names = _bound(node)
        if task.entry_point in names:
            continue
        if any(name not in defined and not (tree is None and defines(code, name)) for name in names):
            lacking.append(ast.unparse(node))
    if not lacking:
        return code
    lines = code.split("\n")
    first = _after_future_imports(tree)
    return "\n".join([*lines[:first], *lacking, "", *lines[first:]])


def _bound(node: ast.stmt) -> set[str]:
    """Names that a top-level statement defines."""
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return set()


def _after_future_imports(tree: ast.Module | None) -> int:
    """The line (from 0) where statements may go in front: `from __future__` must stay first."""
    ends = [
        node.end_lineno or 0
        for node in (tree.body if tree else [])
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    ]
    return max(ends, default=0)


def _with_body(prompt: str, code: str) -> str:
    """The prompt continued by a function's body, indented so that it compiles; as it stands when nothing helps."""
    if not prompt.endswith("\n") and prompt.rstrip().endswith(('"""', "'''", ":")):
        prompt += "\n"
    body_indent = " " * 4
    for line in reversed(prompt.rstrip().split("\n")):
        if line.strip():
            written = line[: len(line) - len(line.lstrip())]
            body_indent = written + body_indent if line.rstrip().endswith(":") else written or body_indent
            break
    candidates = [code]
    if code[:1] and not code[0].isspace():
        # A body that lost its indentation, or only that of its first line (as `strip()` does).
        candidates = [textwrap.indent(code, body_indent), body_indent + code, code]
    else:
        candidates.append(textwrap.indent(textwrap.dedent(code), body_indent))
    return next((prompt + candidate for candidate in candidates if _compiles(prompt + candidate)), prompt + code)


def _parse(code: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in the model's strings
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _compiles(code: str) -> bool:
    """As parsing, and `return` stands inside a function."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(code, "<answer>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _strip_blank_lines(code: str) -> str:
    return re.sub(r"\A([ \t]*\n)+", "", code).rstrip()
