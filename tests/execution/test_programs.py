"""A program's text from prompt, completion and tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rewardranker.execution.languages import find
from rewardranker.execution.programs import assemble, cut, main_class

DATA = Path(__file__).resolve().parents[3] / "shared/data/multipl-e"


def test_the_parts_follow_each_other_with_a_line_break_before_the_tests() -> None:
    assert assemble(find("js"), "function f(){\n", "  return 1;\n}", "f();") == "function f(){\n  return 1;\n}\nf();"


def test_the_completion_ends_before_the_first_place_of_any_stop_token() -> None:
    assert cut("a\n\nb\ndef c", ("\ndef", "\n\n")) == "a"
    assert cut("a\n\nb\ndef c", ("\ndef", "\n#")) == "a\n\nb"


def test_without_a_stop_token_the_completion_is_whole() -> None:
    assert cut("a\nb", ("\ndef",)) == "a\nb"
    assert cut("a\nb", ()) == "a\nb"
    assert cut("a\nb", ("",)) == "a\nb"


def test_a_stop_token_of_the_prompt_or_across_its_end_does_not_count() -> None:
    text = assemble(find("cpp"), "struct A {\n};\nint f() {\n", "}\nint g() {\n  return 1;\n}\nrest", "}", ("\n}",))
    assert text == "struct A {\n};\nint f() {\n}\nint g() {\n  return 1;\n}"


def test_the_bracket_of_the_completion_goes_when_the_tests_bring_it() -> None:
    text = assemble(find("cpp"), "int f() {\n", "    return 1;\n}\n", "}\nint main() {}\n", ("\n}",))
    assert text == "int f() {\n    return 1;\n}\nint main() {}\n"


def test_a_bracket_that_no_stop_token_takes_away_stays() -> None:
    text = assemble(find("java"), "class Problem {\n", "        return 1;\n    }", "    }\n}", ("\n    }\n",))
    assert text.count("}") == 3


def test_php_without_a_tag_is_not_printed_but_run() -> None:
    assert assemble(find("php"), "", "echo 1;", "echo 2;") == "<?php\necho 1;\necho 2;"


@pytest.mark.parametrize("completion", ["<?php\necho 1;", "<?PHP echo 1;", "<?= 1;"])
def test_php_with_a_tag_stays_as_it_is(completion: str) -> None:
    assert assemble(find("php"), "", completion, "") == f"{completion}\n"


def test_every_row_of_the_reference_data_stays_as_it_is() -> None:
    files = sorted(set(DATA.glob("humaneval-*.jsonl")) - {DATA / "humaneval-python.jsonl"})
    if not files:
        pytest.skip(f"no reference data in {DATA}")
    for file in files:
        for row in map(json.loads, file.read_text().splitlines()):
            language = find(row["language"])
            text = assemble(language, row["prompt"], "X", row["tests"], row["stop_tokens"])
            assert text == row["prompt"] + "X\n" + row["tests"]
            assert main_class(language, text) == language.main_class, row["name"]


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("class Problem {\n public static void main(String[] a) {}\n}\nclass Other {}", "Problem"),
        ("class Helper {}\nclass Problem {\n public static void main(String[] a) {}\n}", "Problem"),
        ("import java.util.*;\npublic class Main {\n public static void main(String[] a) {}\n}", "Main"),
        ("public final class Sol {\n static class In {}\n public static void main(String[] a) {}\n}", "Sol"),
        ("class Node {}\nclass Sol {\n static void main(String[] a) {}\n}\nclass Last {}", "Sol"),
        ("// the class of tests\nclass Sol {\n static void main(String[] a) {}\n}", "Sol"),
        ("int x;", "Problem"),
    ],
)
def test_the_class_with_main_is_found_in_java(program: str, name: str) -> None:
    assert main_class(find("java"), program) == name


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("object Sol {\n def main(args: Array[String]) = {}\n}", "Sol"),
        ("class A\nobject Sol extends App {\n println(1)\n}", "Sol"),
        ("object Problem {\n def main(args: Array[String]) = {}\n}", "Problem"),
    ],
)
def test_the_object_with_main_is_found_in_scala(program: str, name: str) -> None:
    assert main_class(find("scala"), program) == name


def test_other_languages_have_no_main_class() -> None:
    assert main_class(find("cs"), "class Problem {}") == ""
