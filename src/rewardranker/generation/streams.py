"""Random numbers of a sample: a function of (seed, task, sample number, step) and of nothing else.

So neither the batch a sample is drawn in, nor its place there, nor a resumption changes what is drawn. The numbers are
the output of SHAKE-128 (FIPS 202), a hash whose output has any length: the first numbers of a stream do not depend on
how many are taken. One call gives a whole stream; setting up a numpy generator for each sample costs several times as
much.

Not guaranteed: equal programs on unlike machines. The numbers are equal everywhere, the model's logits are not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RandomStream = NDArray[np.float32]
"""Uniform numbers in [0, 1), one for each token that a sample may have: float32 [steps], multiples of 2^-24."""


def random_streams(seed: int, task_ids: Sequence[str], sample_ids: Sequence[int], steps: int) -> NDArray[np.float32]:
    """The random stream of each (task, sample) pair.

    Args:
        task_ids: one for each row.
        sample_ids: one for each row: the number of the sample within its task.
        steps: numbers in each stream; a longer stream begins with the shorter one.

    Returns:
        float32 [rows, steps], uniform in [0, 1).

    Raises:
        ValueError: `task_ids` and `sample_ids` differ in length.
    """
    digests = [
        hashlib.shake_128(f"{seed}\0{sample_id}\0{task_id}".encode()).digest(4 * steps)
        for task_id, sample_id in zip(task_ids, sample_ids, strict=True)
    ]
    bits = np.frombuffer(b"".join(digests), dtype="<u4").reshape(len(digests), steps)
    return (bits >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)
