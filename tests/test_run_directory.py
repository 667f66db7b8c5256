"""The run directory: one owner, resumption after a kill, refusal of other options, a full disk."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from rewardranker.errors import DataError, RunDirectoryError
from rewardranker.runs import (
    RecordLog,
    RunDirectory,
    recover_folder,
    replacing_folder,
    write_json,
    write_records,
    write_text,
)
from rewardranker.types import StdioTest

OPTIONS = {"name": "a", "ppo": {"kl": 0.1, "steps": 3}, "launch": {"threads": 1}}


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run code in another process, which may be killed."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


# --- one owner --------------------------------------------------------------------------------------------------


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    code = """
        import sys
        from rewardranker.errors import RunDirectoryError
        from rewardranker.runs import RunDirectory
        try:
            with RunDirectory(sys.argv[1], "run", {}):
                print("entered")
        except RunDirectoryError as error:
            print(error)
    """
    with RunDirectory(tmp_path / "run", "run", {}):
        assert f"in use by process {os.getpid()}" in python(code, tmp_path / "run").stdout
    assert python(code, tmp_path / "run").stdout == "entered\n"


def test_a_kill_releases_the_folder(tmp_path: Path) -> None:
    code = """
        import os, signal, sys
        from rewardranker.runs import RunDirectory
        with RunDirectory(sys.argv[1], "run", {}):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    assert python(code, tmp_path / "run").returncode == -signal.SIGKILL
    with RunDirectory(tmp_path / "run", "run", {}):
        pass


# --- the same command goes on, another one is refused -----------------------------------------------------------


def test_a_finished_stage_is_not_done_again(tmp_path: Path) -> None:
    with RunDirectory(tmp_path, "run", OPTIONS) as run:
        assert run.stage("A", lambda: {"loss": 1.5}) == {"loss": 1.5}
    with RunDirectory(tmp_path, "run", OPTIONS) as run:
        assert run.stage("A", lambda: pytest.fail("done twice")) == {"loss": 1.5}


def test_a_failed_stage_is_done_again_and_its_time_counts(tmp_path: Path) -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    with RunDirectory(tmp_path, "run", OPTIONS) as run, pytest.raises(KeyboardInterrupt):
        run.stage("A", fail)
    with RunDirectory(tmp_path, "run", OPTIONS) as run:
        assert not run.stage_is_done("A")
        run.stage("A", lambda: {"loss": 1.0})
        assert run.manifest["stages"]["A"]["sessions"] == 2
        assert run.figures("A") == {"loss": 1.0}


def test_a_killed_stage_is_not_done(tmp_path: Path) -> None:
    code = """
        import os, signal, sys
        from rewardranker.runs import RunDirectory
        with RunDirectory(sys.argv[1], "run", {}) as run:
            run.stage("A", lambda: {})
            run.stage("B", lambda: os.kill(os.getpid(), signal.SIGKILL))
    """
    assert python(code, tmp_path).returncode == -signal.SIGKILL
    with RunDirectory(tmp_path, "run", {}) as run:
        assert run.stage_is_done("A")
        assert not run.stage_is_done("B")


def test_every_changed_option_is_named_with_both_values(tmp_path: Path) -> None:
    with RunDirectory(tmp_path, "run", OPTIONS):
        pass
    changed = {"name": "b", "ppo": {"kl": 0.2, "steps": 3}, "launch": {"threads": 1}}
    with pytest.raises(RunDirectoryError) as error, RunDirectory(tmp_path, "run", changed):
        pass
    assert 'name: was "a", now "b"' in str(error.value)
    assert "ppo.kl: was 0.1, now 0.2" in str(error.value)
    assert "steps" not in str(error.value)


def test_a_folder_from_before_an_option_existed_is_gone_on_from_as_with_its_default(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run", "run", OPTIONS):
        pass
    later = {**OPTIONS, "ppo": {"kl": 0.1, "steps": 3, "critic": "head"}}
    with RunDirectory(tmp_path / "run", "run", later):
        pass
    later["ppo"]["critic"] = "model"
    with pytest.raises(RunDirectoryError, match=r'ppo\.critic: was "head", now "model"'):
        RunDirectory(tmp_path / "run", "run", later).__enter__()


def test_launch_options_may_change(tmp_path: Path) -> None:
    with RunDirectory(tmp_path, "run", OPTIONS):
        pass
    with RunDirectory(tmp_path, "run", OPTIONS | {"launch": {"threads": 2}}):
        pass


def test_another_command_is_refused(tmp_path: Path) -> None:
    with RunDirectory(tmp_path, "sft", {}):
        pass
    with pytest.raises(RunDirectoryError, match="belongs to `rewardranker sft`"), RunDirectory(tmp_path, "run", {}):
        pass


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunDirectoryError, match=r"thesis\.tex"), RunDirectory(tmp_path, "run", {}):
        pass
    assert (tmp_path / "thesis.tex").read_text() == "mine"
    assert not (tmp_path / "manifest.json").exists()


def test_a_refused_folder_is_not_kept_locked(tmp_path: Path) -> None:
    with RunDirectory(tmp_path, "run", OPTIONS):
        pass
    with pytest.raises(RunDirectoryError), RunDirectory(tmp_path, "run", {}):
        pass
    with RunDirectory(tmp_path, "run", OPTIONS):
        pass


def test_a_broken_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"command": "ru')
    with pytest.raises(RunDirectoryError, match=r"manifest\.json: broken JSON"), RunDirectory(tmp_path, "run", {}):
        pass


def test_the_manifest_is_readable_json_with_versions(tmp_path: Path) -> None:
    with RunDirectory(tmp_path, "run", OPTIONS) as run:
        run.stage("A", dict)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["options"] == OPTIONS
    assert {"python", "torch", "rewardranker"} <= set(manifest["versions"])
    assert manifest["stages"]["A"]["seconds"] >= 0


# --- files that appear complete or not at all -------------------------------------------------------------------


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path: Path) -> None:
    def records() -> object:
        yield StdioTest("a", "b")
        raise RuntimeError

    path = tmp_path / "records.jsonl"
    write_text(path, "old")
    with pytest.raises(RuntimeError):
        write_records(path, records())  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]


def test_a_failed_checkpoint_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    with replacing_folder(path) as folder:
        (folder / "step").write_text("1")

    def fail() -> None:
        with replacing_folder(path) as folder:
            (folder / "step").write_text("2")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (path / "step").read_text() == "1"
    assert [*tmp_path.iterdir()] == [path]


def test_a_new_checkpoint_replaces_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    for step in ("1", "2"):
        with replacing_folder(path) as folder:
            (folder / f"only-{step}").write_text(step)
    assert [entry.name for entry in path.iterdir()] == ["only-2"]
    assert [*tmp_path.iterdir()] == [path]


def test_a_kill_between_the_renames_of_a_checkpoint_loses_nothing(tmp_path: Path) -> None:
    code = """
        import os, signal, sys
        from pathlib import Path
        from rewardranker import runs
        path = Path(sys.argv[1])
        with runs.replacing_folder(path) as folder:
            (folder / "step").write_text("1")
        real = os.replace
        def replace(source, target):
            real(source, target)
            os.kill(os.getpid(), signal.SIGKILL)
        os.replace = replace
        with runs.replacing_folder(path) as folder:
            (folder / "step").write_text("2")
    """
    path = tmp_path / "checkpoint"
    assert python(code, path).returncode == -signal.SIGKILL
    assert not path.exists()
    assert recover_folder(path) == path
    assert (path / "step").read_text() == "1"
    assert recover_folder(tmp_path / "never") is None


def write_folder(path: Path) -> None:
    with replacing_folder(path) as new:
        (new / "whole").write_text("1")


KILLED_WHILE_WRITING = {
    "file": "write_records(sys.argv[1], (os.kill(os.getpid(), 9) or {} for _ in range(1)))",
    "folder": "with replacing_folder(sys.argv[1]) as new: (new / 'half').write_text('1'); os.kill(os.getpid(), 9)",
}
WRITTEN_AGAIN: dict[str, Callable[[Path], object]] = {
    "file": lambda path: write_text(path, "new"),
    "folder": write_folder,
}


@pytest.mark.parametrize("kind", KILLED_WHILE_WRITING)
def test_what_a_kill_left_is_removed_when_the_name_is_written_again(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "name"
    code = (
        f"import os, sys\nfrom rewardranker.runs import replacing_folder, write_records\n{KILLED_WHILE_WRITING[kind]}"
    )
    assert python(code, path).returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    (tmp_path / left.name.replace(".name.", ".other.name.")).write_text("of another name")
    (tmp_path / f".name.{os.getppid()}.tmp").write_text("of a running process")
    WRITTEN_AGAIN[kind](path)
    assert not left.exists()
    assert (tmp_path / left.name.replace(".name.", ".other.name.")).exists()
    assert (tmp_path / f".name.{os.getppid()}.tmp").exists()


# --- the append-only log ----------------------------------------------------------------------------------------


def record(number: int) -> StdioTest:
    return StdioTest(str(number), "ü" * number)


def numbers(log: RecordLog[StdioTest]) -> list[int]:
    return [int(item.input) for item in log.read()]


def test_a_half_written_line_is_dropped_wherever_the_kill_fell(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with RecordLog(path, StdioTest) as log:
        log.append(record(number) for number in (1, 2))
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        with RecordLog(path, StdioTest) as log:
            assert len(log) == (cut >= first) + (cut == len(whole))
            log.append([record(7)])
            assert numbers(log) == [*[1, 2][: len(log) - 1], 7]


def test_keep_drops_the_records_of_a_begun_batch(tmp_path: Path) -> None:
    with RecordLog(tmp_path / "log.jsonl", StdioTest) as log:
        log.append(record(number) for number in range(5))
        log.keep(3)
        assert (len(log), numbers(log)) == (3, [0, 1, 2])
        log.append([record(9)])
        assert numbers(log) == [0, 1, 2, 9]


def test_keeping_more_than_there_is_keeps_all(tmp_path: Path) -> None:
    with RecordLog(tmp_path / "log.jsonl", StdioTest) as log:
        log.append([record(1)])
        log.keep(10)
        assert numbers(log) == [1]


def test_nothing_of_a_batch_that_can_not_be_written_as_json_stays(tmp_path: Path) -> None:
    with RecordLog(tmp_path / "log.jsonl", dict) as log:
        log.append([{"a": 1.0}])
        with pytest.raises(DataError, match="can't be written"):
            log.append([{"a": 2.0}, {"a": float("nan")}])
        assert len(log) == 1
    assert (tmp_path / "log.jsonl").read_text() == '{"a": 1.0}\n'


# --- a full disk ------------------------------------------------------------------------------------------------

needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")


@needs_full
def test_a_full_disk_is_an_error_that_says_how_to_go_on(tmp_path: Path) -> None:
    log = RecordLog(tmp_path / "log.jsonl", StdioTest)
    log._file = Path("/dev/full").open("ab", buffering=0)  # noqa: SIM115
    with pytest.raises(RunDirectoryError, match=r"no space left while writing .*log\.jsonl: free some"):
        log.append([record(1)])
    assert len(log) == 0


WRITERS: dict[str, Callable[[Path], object]] = {
    "write_records": lambda path: write_records(path, [record(1)]),
    "write_json": lambda path: write_json(path, {"a": 1}),
    "write_text": lambda path: write_text(path, "new"),
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str, code: int
) -> None:
    def full(_: int) -> None:
        raise OSError(code, os.strerror(code))

    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunDirectoryError, match="no space left"):
        WRITERS[writer](path)
    assert path.read_text() == "old"
    assert [*tmp_path.iterdir()] == [path]


def test_a_log_cut_short_by_the_system_keeps_its_complete_records_and_goes_on(tmp_path: Path) -> None:
    """A real short write: the file may not grow past the limit, so the kernel takes the first part of a batch."""
    code = """
        import resource, signal, sys
        from rewardranker.runs import RecordLog
        from rewardranker.types import StdioTest
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        with RecordLog(sys.argv[1], StdioTest) as log:
            log.append([StdioTest("1", "x")])
            resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))
            try:
                log.append([StdioTest(str(n), "x" * 50) for n in (2, 3, 4, 5)])
            except OSError as error:
                print(type(error).__name__, len(log))
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            log.append([StdioTest("6", "x")])
    """
    path = tmp_path / "log.jsonl"
    result = python(code, path)
    assert result.stdout == "OSError 1\n", result.stderr
    with RecordLog(path, StdioTest) as log:
        assert numbers(log) == [1, 6]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_without_permission_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RunDirectoryError, match="can't be written"), RunDirectory(tmp_path / "run", "run", {}):
        pass


def test_an_output_dir_below_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="choose another"), RunDirectory(tmp_path / "file" / "run", "run", {}):
        pass
