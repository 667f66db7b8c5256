"""The program for a function task in another language than Python, from the code of a chat answer.

MultiPL-E's programs are prompt, completion, tests; in several languages the tests begin with the bracket that closes
the function, so the program made here ends before that bracket. The rule:

1. The task's function is looked up in the code, inside a class if need be. Its body continues the prompt, under the
   prompt's signature; where the answer names the parameters otherwise, or parameters have no types, the answer's own
   definition takes the signature's place.
2. Imports go below the prompt's own. Other items before the function are kept in front of it (in front of the prompt's
   class, if they stood outside the answer's); those that define something only if what is kept uses it, so a `main`
   or a class of tests goes. Of what comes after the function only definitions that are used are kept, in front too.
   What the prompt defines itself is not repeated.
3. An answer that is only a body continues the prompt, and ends at the bracket that closes the function.
4. Where brackets don't match, the answer ends at the task's first stop text after the function's name.

Stop texts are not used where brackets tell the end: "\\n\\n" would end an answer at its first blank line.

Not guaranteed: that what is broken compiles. A helper that needs an object (no `static`) is not made static.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

from rewardranker.generation.signatures import block, header, parameters
from rewardranker.generation.source_items import Item, Syntax, blank, final_depth, function_end, split, syntax_of
from rewardranker.types import Task


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A prompt that ends in an opened function."""

    imports: str
    """All up to the last import; then opened classes and helpers, the function's comment, its signature."""
    helpers: str
    comment: str
    signature: str
    defined: frozenset[str]

    @property
    def in_class(self) -> bool:
        return re.search(r"\b(class|object)\s+\w+[^{}]*\{\s*$", self.helpers) is not None


@dataclass(frozen=True, slots=True)
class _Answer:
    """The function in an answer, and what stands around it."""

    function: Item
    before: list[Item]
    after: list[Item]
    outside: list[Item]
    """Around the class that the function is in."""
    in_class: bool


def assemble_function(task: Task, code: str, defined: bool) -> str | None:
    """The program, without the tests.

    Args:
        code: what `extract_code` found.
        defined: the code's text defines the entry point; what neither does nor has an item of that name is a body.

    Returns:
        None where this module does not know the language, or the prompt does not end in the function's beginning.
    """
    syntax = syntax_of(task.language)
    if syntax is None or task.entry_point is None:
        return None
    prompt = _read_prompt(task.prompt, task.entry_point, syntax)
    if prompt is None:
        return None
    tests = task.tests if isinstance(task.tests, str) else "\n".join(task.tests)
    tests_close = tests.lstrip().startswith("}")
    answer = _find_function(split(code, syntax), task.entry_point, syntax)
    if answer is None and not defined:
        return _with_body(task, code, syntax, tests_close)
    written = _written_function(prompt, answer.function, task.entry_point, syntax, tests_close) if answer else None
    if answer is None or written is None or (answer.in_class and not prompt.in_class):
        return _cut(task, code) if tests_close else None
    if prompt.in_class and not tests_close:
        return None  # nobody would close the prompt's class
    return _join(prompt, answer, written, task.entry_point, syntax)


def _read_prompt(prompt: str, entry_point: str, syntax: Syntax) -> _Prompt | None:
    lines = prompt.splitlines(keepends=True)
    bare = blank(prompt, syntax).splitlines()
    named = [i for i, line in enumerate(bare) if re.search(rf"(?<![\w-]){re.escape(entry_point)}(?![\w-])", line)]
    if not named:
        return None
    start = named[-1]
    signature = "".join(lines[start:])
    begins = r"\s*(local\s+)?(function|def|\(define)\b" if syntax.closing != "}" else r"(?s).*(\{|\)\s*$|\{[^{}]*;\s*$)"
    if not re.match(begins, signature):
        return None
    comment = start
    while comment > 0 and not bare[comment - 1].strip():
        comment -= 1
    top, depth = 0, 0
    for number, line in enumerate(bare[:start]):
        item = Item(lines[number], line)
        if depth > 0 or item.is_directive or item.is_file_head:
            depth += line.count("(") - line.count(")")
            top = number + 1
    comment = max(comment, top)
    helpers = "".join(lines[top:comment])
    defined = frozenset().union(*(item.names for item in split(helpers, syntax) or []))
    return _Prompt("".join(lines[:top]), helpers, "".join(lines[comment:start]), signature, defined)


def _find_function(items: list[Item] | None, entry_point: str, syntax: Syntax) -> _Answer | None:
    if items is None:
        return None
    found = [i for i, item in enumerate(items) if entry_point in item.names]
    complete = [i for i in found if items[i].bare.rstrip().rstrip(";").endswith(syntax.closing)]
    if found:
        place = (complete or found)[-1]
        if syntax.closing == "end" and not complete:
            return None  # not laid out as usual: its end is not known
        return _Answer(items[place], items[:place], items[place + 1 :], [], False)
    for place, item in enumerate(items):
        if syntax.closing != "}" or not re.search(rf"\b{re.escape(entry_point)}\b", item.bare):
            continue
        opened, closed = item.bare.find("{"), item.bare.rfind("}")
        if not 0 <= opened < closed or not re.search(r"\b(class|object|struct|impl|namespace)\b", item.bare[:opened]):
            continue
        inner = _find_function(split(item.text[opened + 1 : closed], syntax), entry_point, syntax)
        if inner is not None:
            return _Answer(
                inner.function, inner.before, inner.after, items[:place] + inner.outside + items[place + 1 :], True
            )
    return None


def _written_function(
    prompt: _Prompt, function: Item, entry_point: str, syntax: Syntax, tests_close: bool
) -> str | None:
    """The signature and the body; None where the body's end is not found but needed."""
    head = header(function.bare, entry_point)
    body = block(function, head[1]) if head and syntax.closing == "}" else None
    own = head is None or body is None or not syntax.parameter
    if head and not own:
        wanted = header(blank(prompt.signature, syntax), entry_point)
        own = wanted is None or parameters(wanted[0], syntax) != parameters(head[0], syntax)
    if body is None and not tests_close:
        return function.text.strip("\n")
    if body is None or head is None:
        return None
    if own:
        signature = function.text[: head[2]].lstrip("\n")
        written = signature + body
    else:
        signature = prompt.signature.rstrip()
        written = signature + body.lstrip()[1:] if signature.endswith("{") else f"{signature}\n{body.lstrip()}"
    return written.rstrip().removesuffix("}").rstrip() if tests_close else written.rstrip()


def _join(prompt: _Prompt, answer: _Answer, written: str, entry_point: str, syntax: Syntax) -> str:
    around = [item for item in (*answer.outside, *answer.before, *answer.after) if not item.is_file_head]
    kept = _used(around, {id(item) for item in answer.after}, answer.function, prompt.defined, entry_point, syntax)
    imports = [item for item in kept if item.is_directive]
    rest = [item for item in kept if not item.is_directive]
    outside = [item.text.strip("\n") for item in rest if any(item is other for other in answer.outside)]
    members = [item.text.strip("\n") for item in rest if not any(item is other for other in answer.outside)]
    if syntax_of("cpp") is syntax and any(re.search(rf"\b{re.escape(entry_point)}\b", text) for text in members):
        members.insert(0, _header_line(written) + ";")  # helpers that call the function now stand in front of it
    parts = [
        prompt.imports,
        "".join(line + "\n" for line in _lacking_imports(imports, [*rest, answer.function], prompt, syntax)),
        "".join(text + "\n\n" for text in outside),
        prompt.helpers,
        "".join(text + "\n\n" for text in members),
        "" if _has_comment(written, syntax) else prompt.comment,
        written,
    ]
    text = ""
    for part in parts:
        text += ("\n" if text and part and not text.endswith("\n") else "") + part
    return text


def _has_comment(written: str, syntax: Syntax) -> bool:
    return not blank(written, syntax).lstrip("\n").split("\n")[0].strip()


def _header_line(written: str) -> str:
    return written[: written.index("{")].strip()


def _used(
    around: list[Item], after: set[int], function: Item, defined: frozenset[str], entry_point: str, syntax: Syntax
) -> list[Item]:
    """The items to keep, in order: see rule 2 in the module's text."""
    kept = {
        id(item) for item in around if item.is_directive or (not item.names and id(item) not in after)
    }  # statements in front of the function may set up what it needs
    words = _words(function, syntax)
    for item in around:
        if id(item) in kept:
            words |= _words(item, syntax)
    grown = True
    while grown:
        grown = False
        for item in around:
            own = item.names - {entry_point}
            if id(item) not in kept and own & words and not own & defined:
                kept.add(id(item))
                words |= _words(item, syntax)
                grown = True
    return [item for item in around if id(item) in kept and item.bare.strip()]


def _words(item: Item, syntax: Syntax) -> set[str]:
    # Strings count: many languages have code in them ("$(helper)").
    text = blank(item.text, syntax, strings=False)
    if syntax in (syntax_of("javascript"), syntax_of("typescript")):
        text = re.sub(r"(?<!\.)\.[ \t]*\w+", " ", text)  # members of other objects: `pattern.test(...)`
    return {word for found in re.findall(r"[\w-]+[?!]?", text) for word in (found, *re.findall(r"\w+", found))}


def _lacking_imports(imports: list[Item], rest: list[Item], prompt: _Prompt, syntax: Syntax) -> list[str]:
    known = {line.strip() for line in prompt.imports.split("\n")}
    if syntax is not syntax_of("go"):
        return [item.text.strip() for item in imports if item.text.strip() not in known]
    # In Go a second import of a package, and one that is not used, are errors.
    lines = []
    text = "".join(item.bare for item in rest)
    for item in imports:
        for alias, path in re.findall(r'(?:(\w+|\.)[ \t]+)?"([^"\n]+)"', item.text.replace("import", "")):
            used = re.search(rf"\b{re.escape(alias or path.split('/')[-1])}\s*\.", text)
            if f'"{path}"' not in prompt.imports and (used or alias in (".", "_")):
                lines.append(f'import {alias} "{path}"' if alias else f'import "{path}"')
    return lines


def _with_body(task: Task, code: str, syntax: Syntax, tests_close: bool) -> str:
    """The prompt continued by a body."""
    if syntax.closing != "}":
        return _cut(task, code, task.prompt if task.prompt.endswith("\n") else task.prompt + "\n")
    prompt = task.prompt if task.prompt.endswith("\n") or code.startswith("\n") else task.prompt + "\n"
    body = code
    if not prompt.rstrip().endswith((";", "{")) and not code.lstrip().startswith("{"):
        prompt += "{\n"
    elif not prompt.rstrip().endswith((";", "{")):
        return prompt + code  # D: the brackets are the body's
    if body.lstrip().startswith("{") and final_depth(body, syntax) == 0:
        opened = body.index("{")  # the body came with both brackets
        body = body[opened + 1 :]
    end = function_end(body, syntax)
    if end is not None:
        return prompt + (body[:end].rstrip() if tests_close else body[: end + 1])
    lacks_only_its_end = not tests_close and final_depth(body, syntax) == 0
    return prompt + textwrap.dedent(body) + "\n}" if lacks_only_its_end else prompt + body


def _cut(task: Task, code: str, prompt: str = "") -> str:
    """The prompt and the code up to the first stop text after the function's name; blank lines stop nothing."""
    name = 0 if prompt else max(code.find(task.entry_point or ""), 0)
    places = [place for stop in task.stop if stop.strip() and (place := code.find(stop, name)) >= 0]
    return prompt + (code[: min(places)] if places else code)
