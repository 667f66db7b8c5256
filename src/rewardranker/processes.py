"""The processes of one launch: who this one is, how they exchange plain values, wait, and divide work.

`rewardranker launch` starts them; a command that was started alone is a launch of one, where all of this does nothing.
Values that are not gradients travel over gloo whatever the device, so that a process may wait for hours (while the main
one judges programs) without keeping its GPU busy.

Guaranteed: `gathered` and `from_main` return the same on every process. Not guaranteed: that a call returns when
another process has died; the launcher then ends all (see `cli/launch.py`), and the same command goes on.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar, cast

from rewardranker.errors import ProcessError, RewardRankerError

T = TypeVar("T")

PATIENCE = timedelta(days=30)
"""How long a process waits for the others; a process that has died is noticed by the launcher, not by waiting."""
_control: Any = None  # the gloo group


def world_size() -> int:
    """Number of processes of the launch."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def local_world_size() -> int:
    """Number of processes of the launch on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this process writes the files and prints the results."""
    return rank() == 0


def kind() -> str:
    """How a training's memory is divided: `single`, `ddp`, `fsdp` or `deepspeed`, as the launch says."""
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true":
        return "deepspeed"
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true":
        return "fsdp"
    return "ddp" if world_size() > 1 else "single"


def join(device: str) -> None:
    """Meet the other processes of the launch; a process on a GPU takes the one of its local number.

    Args:
        device: `cpu` or `cuda`.

    Raises:
        ProcessError: fewer GPUs than processes on this machine.
    """
    global _control
    if _control is not None or kind() == "single":
        return
    import torch

    dist = torch.distributed
    backend = "gloo"
    if device.startswith("cuda"):
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise ProcessError(
                f"{local_world_size()} processes were launched on a machine with {torch.cuda.device_count()} GPUs: "
                "lower --num-processes, or set launch.device=cpu"
            )
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    if not dist.is_initialized():
        dist.init_process_group(backend, timeout=timedelta(hours=2))
    _control = dist.new_group(backend="gloo", timeout=PATIENCE)


def leave() -> None:
    """Part from the others at the end of a command."""
    global _control
    if _control is not None:
        import torch

        _control = None
        torch.distributed.destroy_process_group()


def barrier() -> None:
    """Wait until all processes have come here."""
    if _control is not None:
        import torch

        with _lost_processes():
            torch.distributed.barrier(group=_control)


def gathered(values: Sequence[T]) -> list[T]:
    """The values of all processes, those of process 0 first; picklable."""
    if _control is None:
        return list(values)
    import torch

    parts: list[list[T]] = [[] for _ in range(world_size())]
    with _lost_processes():
        torch.distributed.all_gather_object(parts, list(values), group=_control)
    return [value for part in parts for value in part]


def from_main(value: T) -> T:
    """The main process's value, on every process; picklable."""
    if _control is None:
        return value
    import torch

    box = [value]
    with _lost_processes():
        torch.distributed.broadcast_object_list(box, src=0, group=_control)
    return box[0]


def on_main(work: Callable[[], T]) -> T:
    """What `work` returns on the main process, which alone does it (files, mostly); picklable.

    Raises:
        RewardRankerError: the main process's, on every process, so that all end alike.
    """
    if _control is None:
        return work()
    result: tuple[T | None, RewardRankerError | None] = (None, None)
    if is_main():
        try:
            result = work(), None
        except RewardRankerError as error:
            from_main((None, error))
            raise
    value, failure = from_main(result)
    if failure is not None:
        raise failure
    return cast(T, value)


def summed(tensor: Any) -> Any:
    """The tensor added up over all processes, in place; on every process the same bits."""
    if _control is not None:
        import torch

        with _lost_processes():
            torch.distributed.all_reduce(tensor)
    return tensor


BUCKET = 1 << 24
"""Numbers of gradient that are sent together."""


def sum_gradients(parameters: Iterable[Any]) -> None:
    """Add up the gradients of all processes; a parameter without one here counts as zero."""
    if _control is None:
        return
    import torch

    waiting: list[Any] = []
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        waiting.append(parameter.grad)
        if sum(map(torch.numel, waiting)) >= BUCKET:
            _sum_bucket(waiting)
            waiting = []
    if waiting:
        _sum_bucket(waiting)


def _sum_bucket(gradients: list[Any]) -> None:
    import torch

    flat = torch.cat([gradient.flatten().float() for gradient in gradients])
    summed(flat)
    for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def own_share(items: Sequence[T]) -> Sequence[T]:
    """This process's part of the items: contiguous, and at most one longer than any other's."""
    size, here = len(items), rank()
    return items[size * here // world_size() : size * (here + 1) // world_size()]


@contextlib.contextmanager
def _lost_processes() -> Iterator[None]:
    """
    Raises:
        ProcessError: the connection to another process broke.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_lost_process(error):
            raise
        raise ProcessError(LOST) from error


LOST = "another process of this launch has ended (its own message says why); the same command goes on where it stopped"


def is_lost_process(error: BaseException) -> bool:
    """Whether an error says that another process is gone: gloo's and NCCL's words for it."""
    words = (
        "Connection closed by peer",
        "Connection reset by peer",
        "Broken pipe",
        "remote process exited",
        "Socket Timeout",
    )
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)
