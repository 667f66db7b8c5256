"""The interpreter's code in huge pages: in a process of its own, as it can't be put back."""

import sys
from pathlib import Path

import pytest
from conftest import interpret

from rewardranker.execution.sandbox import hugepages


def python(text: str) -> str:
    return interpret("from sandbox import hugepages\nmoved = hugepages.move_code()\n" + text)


@pytest.fixture(scope="module")
def moved() -> int:
    size = int(python("print(moved)"))
    if size == 0:
        pytest.skip("this system gives no huge pages to a program that asks for them")
    return size


def test_moved_code_is_in_huge_pages(moved: int) -> None:
    huge = "sum(int(line.split()[1]) for line in open('/proc/self/smaps') if line.startswith('AnonHugePages'))"
    assert int(python(f"print({huge})")) * 1024 >= moved


def test_moved_code_can_not_be_written_to(moved: int) -> None:
    start, end = hugepages._code()
    assert end - start >= moved
    text = python("print(open('/proc/self/maps').read())")
    assert not [line for line in text.splitlines() if "wx" in line.split()[1]]


def test_the_interpreter_works_as_before(moved: int) -> None:
    work = "import json, re, subprocess, sys\nprint(json.dumps([sum(range(100)), re.findall('a+', 'caat'), 2**100]))"
    assert python(work) == f'[4950, ["aa"], {2**100}]'


def test_code_without_a_whole_huge_page_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hugepages, "_code", lambda: (4096, 2 * 2**20 + 4096))
    assert hugepages.move_code() == 0


def test_the_code_is_where_the_interpreters_functions_are() -> None:
    start, end = hugepages._code()
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if " r-xp " in line]
    inside = [line for line in mapped if start <= int(line.split("-")[0], 16) < end]
    assert any("python" in line for line in inside), sys.version
