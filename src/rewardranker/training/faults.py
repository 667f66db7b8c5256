"""What goes wrong on real machines, named: each error says what happened, which key to change, and how to go on."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

import torch

from rewardranker import processes
from rewardranker.errors import ModelError, ProcessError, RewardRankerError, RunDirectoryError, TrainingError

_OTHER_ARCHITECTURE = ("no kernel image is available", "not compatible with the current PyTorch installation")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: CUDA's, the CPU allocator's, or Python's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)


@contextlib.contextmanager
def faults_named(name: str, keys: str, folder: Path) -> Iterator[None]:
    """Turn what torch raises on a full device, an old build, a dead process or a full disk into errors that help.

    Args:
        name: what is being done, for the message.
        keys: the keys to lower when memory runs out, most useful first.
        folder: where the checkpoints are.

    Raises:
        TrainingError: out of memory.
        ModelError: this build of PyTorch has no code for this GPU.
        ProcessError: another process of the launch is gone.
        RunDirectoryError: the disk is full, or too slow to answer.
    """
    try:
        with full_disk_named(folder):
            yield
    except RewardRankerError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise TrainingError(
                f"{name}: out of memory{_memory()}: lower {keys}, then give the same command again; it goes on from "
                "the last checkpoint"
            ) from error
        if any(words in str(error) for words in _OTHER_ARCHITECTURE):
            raise ModelError(f"{name}: {_other_architecture()}") from error
        if processes.is_lost_process(error):
            raise ProcessError(f"{name}: {processes.LOST}") from error
        raise


@contextlib.contextmanager
def full_disk_named(folder: Path) -> Iterator[None]:
    """Turn what torch, safetensors and Python each raise on a full or dead disk into a `RunDirectoryError`."""
    try:
        yield
    except RewardRankerError:
        raise
    except Exception as error:
        code = error.errno if isinstance(error, OSError) else None
        if code in (errno.EIO, errno.ESTALE, errno.ETIMEDOUT):
            raise RunDirectoryError(
                f"the filesystem of {folder} does not answer ({error}): wait until it does, then give the same command "
                "again; it goes on from the last complete checkpoint"
            ) from error
        is_full = code in (errno.ENOSPC, errno.EDQUOT)
        is_full = is_full or "No space left" in str(error) or "os error 28" in str(error)
        # torch.save tells no cause, but its zip writer (PytorchStreamWriter in inline_container.cc) has no other.
        is_full = is_full or "inline_container" in str(error) or "PytorchStreamWriter" in str(error)
        if not is_full:
            raise
        raise RunDirectoryError(
            f"no space left while writing a checkpoint in {folder}: free some, then give the same command again; it "
            "goes on from the last complete checkpoint"
        ) from error


def overflow_advice(dtype: torch.dtype) -> str:
    """What to change when a loss is not finite, for weights of this precision."""
    if dtype == torch.float16:
        return "float16 overflows at 65504: set model.dtype=bfloat16 or float32"
    return ""


def _memory() -> str:
    if not torch.cuda.is_available():
        return ""
    free, total = torch.cuda.mem_get_info()
    used = torch.cuda.max_memory_allocated()
    return f" (GPU of {total / 2**30:.0f} GiB, {free / 2**30:.1f} free; this process used up to {used / 2**30:.1f})"


def _other_architecture() -> str:
    if not torch.cuda.is_available():
        return "this build of PyTorch has no code for this GPU: install one that has, or set launch.device=cpu"
    major, minor = torch.cuda.get_device_capability()
    built = ", ".join(torch.cuda.get_arch_list())
    return (
        f"PyTorch {torch.__version__} has no code for {torch.cuda.get_device_name()} (sm_{major}{minor}; it was built "
        f"for {built}): install a build that has (https://pytorch.org/get-started), or set launch.device=cpu"
    )
