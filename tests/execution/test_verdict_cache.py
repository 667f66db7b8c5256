"""The verdict cache: what is found is what was stored, whoever writes, dies or damages the file."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import OPTIONS, sample_of

from rewardranker.config import JudgeOptions
from rewardranker.errors import DataError, RunDirectoryError
from rewardranker.execution import ProgramJudge, cache
from rewardranker.execution.cache import CachedJudge, VerdictCache, VerdictKeys
from rewardranker.execution.opening import open_judge
from rewardranker.types import Comparison, Sample, StdioTest, Task, Verdict

TASK = Task("t", "", entry_point="f", tests=("assert f() < 4", "assert f() >= 0"))
VERDICT = Verdict("t", 3, False, "wrong answer", "assert f() < 4", 1, 2, 0.25, 0.125, 13.5, False, "A: all", "Python 3")


def key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def programs(*numbers: int) -> list[tuple[Task, Sample]]:
    return [(TASK, sample_of(f"def f(): return {n}", sample_id=i)) for i, n in enumerate(numbers)]


def facts(verdicts: Iterable[Verdict]) -> list[tuple[int, str, int]]:
    return [(v.sample_id, v.status, v.tests_passed) for v in verdicts]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[VerdictCache]:
    with VerdictCache(tmp_path / "cache.sqlite") as found:
        yield found


class Counting:
    """A real judge, and the programs that reach it."""

    def __init__(self, judge: ProgramJudge) -> None:
        self.isolation = judge.isolation
        self.seen: list[str] = []
        self._judge = judge

    def judge(self, items: Iterable[tuple[Task, Sample]]) -> Iterator[Verdict]:
        def watched() -> Iterator[tuple[Task, Sample]]:
            for task, sample in items:
                self.seen.append(sample.program)
                yield task, sample

        return self._judge.judge(watched())

    def close(self) -> None: ...


# --- the file ---------------------------------------------------------------------------------------------------


def test_a_stored_verdict_is_found_by_other_connections(store: VerdictCache) -> None:
    store.put_many([(key("a"), VERDICT)])
    with VerdictCache(store.path) as other:
        found = other.get_many([key("a"), key("b")])
    assert found == {key("a"): replace(VERDICT, task_id="", sample_id=-1, cached=True)}


def test_the_first_verdict_stays(store: VerdictCache) -> None:
    store.put_many([(key("a"), VERDICT), (key("a"), replace(VERDICT, detail="second"))])
    store.put_many([(key("a"), replace(VERDICT, detail="third"))])
    assert store.get_many([key("a")])[key("a")].detail == VERDICT.detail


@pytest.mark.parametrize("status", ["timeout", "crashed", "out of memory"])
def test_what_a_busy_machine_can_cause_is_not_shared(store: VerdictCache, status: str) -> None:
    store.put_many([(key("a"), replace(VERDICT, status=status)), (key("b"), VERDICT)])
    assert list(store.get_many([key("a"), key("b")])) == [key("b")]


def test_more_keys_than_one_query_takes(store: VerdictCache) -> None:
    keys = [key(str(i)) for i in range(1300)]
    store.put_many([(k, replace(VERDICT, tests_passed=i)) for i, k in enumerate(keys)])
    found = store.get_many(keys)
    assert [found[k].tests_passed for k in keys] == list(range(1300))


WRITER = """
import hashlib, sys
from rewardranker.execution.cache import VerdictCache
from rewardranker.types import Verdict
path, number = sys.argv[1], int(sys.argv[2])
cache = VerdictCache(path)
print("open", flush=True)
for start in range(0, 10**9 if number == 0 else 600, 20):
    names = [f"shared {i}" for i in range(start, start + 20)] + [f"{number} {i}" for i in range(start, start + 20)]
    keys = {hashlib.sha256(name.encode()).digest(): name for name in names}
    cache.put_many([(k, Verdict("", 0, True, "passed", detail=name)) for k, name in keys.items()])
    found = cache.get_many(keys)
    assert {k: v.detail for k, v in found.items()} == keys
    if start == 100:
        print("written", flush=True)
assert cache.faults == 0
"""


def test_processes_write_at_once_and_one_is_killed(tmp_path: Path) -> None:
    """Each reads back what it wrote, the file stays whole, and all that was committed is there and right."""
    path = tmp_path / "cache.sqlite"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(number)], stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    killed = writers[0]
    assert killed.stdout is not None
    assert killed.stdout.readline() == "open\n"
    assert killed.stdout.readline() == "written\n"
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert [writer.wait(60) for writer in writers[1:]] == [0, 0, 0]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.close()
    names = [f"shared {i}" for i in range(600)] + [f"{n} {i}" for n in (1, 2, 3) for i in range(600)]
    names += [f"0 {i}" for i in range(120)]
    with VerdictCache(path) as store:
        found = store.get_many(key(name) for name in names)
        assert [found[key(name)].detail for name in names] == names
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_damaged_record_is_not_returned_and_counted(store: VerdictCache) -> None:
    store.put_many([(key("a"), VERDICT), (key("b"), VERDICT)])
    with sqlite3.connect(store.path) as connection:
        change = "UPDATE verdicts SET verdict = replace(verdict, 'wrong answer', 'passed') WHERE key = ?"
        connection.execute(change, [key("a")])
    connection.close()
    with pytest.warns(RuntimeWarning, match=r"cache\.sqlite fails \(a record is damaged\)"):
        assert list(store.get_many([key("a"), key("b")])) == [key("b")]
    assert store.faults == 1


def test_a_record_under_another_key_is_not_returned(store: VerdictCache) -> None:
    store.put_many([(key("a"), VERDICT)])
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE verdicts SET key = ?", [key("b")])
    connection.close()
    with pytest.warns(RuntimeWarning):
        assert store.get_many([key("b")]) == {}


def test_a_file_of_another_kind_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but longer than a header of one " * 10)
    with pytest.raises(DataError, match=r"notes\.txt is not a verdict cache.* choose another file"):
        VerdictCache(path)
    assert path.read_text().startswith("not a database")


def test_another_database_is_refused(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "other.db")
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    with pytest.raises(DataError, match=r"other\.db is a database, but no verdict cache"):
        VerdictCache(tmp_path / "other.db")


def test_another_version_is_refused_with_a_remedy(store: VerdictCache) -> None:
    with sqlite3.connect(store.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(
        DataError, match="of version 99, and this program has version 1: choose another file, or delete"
    ):
        VerdictCache(store.path)


def test_a_damaged_file_is_told(store: VerdictCache) -> None:
    store.put_many([(key(str(i)), VERDICT) for i in range(500)])
    store.close()
    content = bytearray(store.path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    store.path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged one .* delete this one"):
        VerdictCache(store.path)


def test_a_place_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="can't be opened"):
        VerdictCache(tmp_path / "file" / "cache.sqlite")
    with pytest.raises(RunDirectoryError, match="can't be opened"):
        VerdictCache(tmp_path)


def test_a_lock_that_stays_is_told_on_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_BUSY_SECONDS", 0.05)
    holder = sqlite3.connect(tmp_path / "cache.sqlite", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(RunDirectoryError, match="was locked by another process"):
        VerdictCache(tmp_path / "cache.sqlite")
    holder.close()


def test_a_lock_while_writing_is_counted_and_reading_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_BUSY_SECONDS", 0.05)
    with VerdictCache(tmp_path / "cache.sqlite") as store:
        store.put_many([(key("a"), VERDICT)])
        holder = sqlite3.connect(store.path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.warns(RuntimeWarning, match="locked"):
            store.put_many([(key("b"), VERDICT)])
        assert list(store.get_many([key("a"), key("b")])) == [key("a")]
        holder.execute("ROLLBACK")
        holder.close()
        store.put_many([(key("b"), VERDICT)])
        assert len(store.get_many([key("a"), key("b")])) == 2
        assert store.faults == 1


def test_a_full_disk_is_counted_and_nothing_half_written_stays(store: VerdictCache) -> None:
    store.put_many([(key("a"), VERDICT)])
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    many = [(key(str(i)), VERDICT) for i in range(500)]
    with pytest.warns(RuntimeWarning, match="full"):
        store.put_many(many)
    assert list(store.get_many([key("a"), *(k for k, _ in many)])) == [key("a")]


# --- the key ----------------------------------------------------------------------------------------------------


def test_the_key_depends_on_all_that_a_verdict_depends_on() -> None:
    sample = sample_of("def f(): return 1")
    tasks = [
        TASK,
        replace(TASK, tests=("assert f() < 5", "assert f() >= 0")),
        replace(TASK, entry_point=None),
        replace(TASK, setup="import os"),
        replace(TASK, prompt="x = 1\n"),
        replace(TASK, inputs=(StdioTest("1", "2"),)),
        replace(TASK, comparison=Comparison(tolerance=0.5)),
        replace(TASK, language="bash"),
    ]
    keys = [VerdictKeys(OPTIONS, "A")(task, sample) for task in tasks]
    keys.append(VerdictKeys(OPTIONS, "A")(TASK, sample_of("def f(): return 2")))
    keys.append(VerdictKeys(OPTIONS, "B")(TASK, sample))
    for change in ({"timeout": 9.0}, {"memory_mb": 9}, {"output_kb": 9}, {"canary": False}):
        keys.append(VerdictKeys(JudgeOptions(**{**OPTIONS.model_dump(), **change}), "A")(TASK, sample))
    assert len(set(keys)) == len(keys) == 14


def test_the_key_does_not_depend_on_names_or_places() -> None:
    one, other = VerdictKeys(OPTIONS, "A"), VerdictKeys(OPTIONS.model_copy(update={"cache": "x"}), "A")
    renamed = replace(TASK, task_id="other", metadata={"split": "test"})
    assert one(TASK, sample_of("p")) == other(renamed, sample_of("p", "other", 7))


def test_another_version_of_the_rules_has_other_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    before = VerdictKeys(OPTIONS, "A")(TASK, sample_of("p"))
    monkeypatch.setattr(cache, "_RULES", 2)
    assert VerdictKeys(OPTIONS, "A")(TASK, sample_of("p")) != before


# --- the judge --------------------------------------------------------------------------------------------------


def test_only_unknown_programs_reach_the_judge_and_order_stays(pool: ProgramJudge, store: VerdictCache) -> None:
    first, second = Counting(pool), Counting(pool)
    list(CachedJudge(first, store, OPTIONS).judge(programs(1, 5, 2)))
    items = programs(0, 5, 6, 1, 2, 7, 5)
    verdicts = list(CachedJudge(second, store, OPTIONS).judge(items))
    assert facts(verdicts) == facts(pool.judge(items))
    assert second.seen == [f"def f(): return {n}" for n in (0, 6, 7)]
    assert [v.cached for v in verdicts] == [False, True, False, True, True, False, True]
    assert {v.task_id for v in verdicts} == {"t"}


def test_long_runs_of_known_programs_pass_in_order(
    pool: ProgramJudge, store: VerdictCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than may wait: the judge's stream ends, and another goes on."""
    monkeypatch.setattr(cache, "_MOST_WAITING", 8)
    monkeypatch.setattr(cache, "_LOOK_AHEAD", 4)
    judge = CachedJudge(pool, store, OPTIONS)
    list(judge.judge(programs(1, 2)))
    items = programs(9, *[1, 2] * 20, 8, *[2] * 30, 7)
    assert facts(judge.judge(items)) == facts(pool.judge(items))


def test_memory_does_not_grow_with_a_run_of_known_programs(
    pool: ProgramJudge, store: VerdictCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_MOST_WAITING", 50)
    list(CachedJudge(pool, store, OPTIONS).judge(programs(1)))
    taken = []

    def items() -> Iterator[tuple[Task, Sample]]:
        for number in range(20_000):
            taken.append(number)
            yield programs(1)[0]

    assert next(CachedJudge(pool, store, OPTIONS).judge(items())).cached
    assert len(taken) <= 50 + cache._LOOK_AHEAD


def test_verdicts_are_stored_when_the_stream_is_abandoned(pool: ProgramJudge, store: VerdictCache) -> None:
    judge = CachedJudge(pool, store, OPTIONS)
    stream = judge.judge(programs(1, 2, 3))
    next(stream)
    stream.close()
    counting = Counting(pool)
    list(CachedJudge(counting, store, OPTIONS).judge(programs(1)))
    assert counting.seen == []


def test_verdicts_of_other_machines_are_not_stored(pool: ProgramJudge, store: VerdictCache) -> None:
    class Elsewhere(Counting):
        def judge(self, items: Iterable[tuple[Task, Sample]]) -> Iterator[Verdict]:
            changes = [{"isolation": "C: less"}, {"toolchain": "Python 2.7"}, {"cached": True}, {}]
            for verdict, change in zip(super().judge(items), changes, strict=True):
                yield replace(verdict, **change)

    list(CachedJudge(Elsewhere(pool), store, OPTIONS).judge(programs(0, 1, 2, 3)))
    counting = Counting(pool)
    list(CachedJudge(counting, store, OPTIONS).judge(programs(0, 1, 2, 3)))
    assert counting.seen == [f"def f(): return {n}" for n in (0, 1, 2)]


def test_timeouts_are_judged_again(pool: ProgramJudge, store: VerdictCache) -> None:
    loop = [(TASK, sample_of("def f():\n    while True: pass"))]
    counting = Counting(pool)
    for _ in range(2):
        (verdict,) = CachedJudge(counting, store, OPTIONS).judge(loop)
        assert (verdict.status, verdict.cached) == ("timeout", False)
    assert len(counting.seen) == 2


def test_the_option_opens_a_judge_with_a_cache(tmp_path: Path) -> None:
    options = OPTIONS.model_copy(update={"cache": str(tmp_path / "deep" / "cache.sqlite")})
    seen = []
    for _ in range(2):
        with open_judge(options, workers=1) as judge:
            (verdict,) = judge.judge(programs(1))
            seen.append((verdict.passed, verdict.cached, os.path.exists(options.cache or "")))
    assert seen == [(True, False, True), (True, True, True)]
