"""Training on top of transformers' `Trainer`: batches filled by tokens, progress, checkpoints that survive a kill.

The order of all batches is planned before the first step, so a training that was killed goes on from its last
complete checkpoint with the batches that an undisturbed run would have seen, and ends with the same weights bit for
bit on the same machine, thread count, number of processes and library versions. On another number of processes, or
with another `micro_batch_tokens`, the batches are the same and the weights differ by rounding alone.

Not guaranteed: equal weights across machines, thread counts or devices.
"""

from rewardranker.training.batches import Sizes, batch_plan, fit_tokens, padded, token_batches
from rewardranker.training.faults import faults_named, full_disk_named
from rewardranker.training.finished import (
    MARKER,
    SUMMARY,
    checkpoints_folder,
    fingerprint,
    is_finished,
    last_checkpoint,
    save_finished,
)
from rewardranker.training.models import (
    has_plain_head,
    hidden_states,
    length_limit,
    merged,
    merged_weights,
    plain_model,
    quiet_transformers,
    training_device,
    with_lora,
)
from rewardranker.training.trackers import Trackers
from rewardranker.training.trainer import PlannedTrainer, training_arguments

__all__ = [
    "MARKER",
    "SUMMARY",
    "PlannedTrainer",
    "Sizes",
    "Trackers",
    "batch_plan",
    "checkpoints_folder",
    "faults_named",
    "fingerprint",
    "fit_tokens",
    "full_disk_named",
    "has_plain_head",
    "hidden_states",
    "is_finished",
    "last_checkpoint",
    "length_limit",
    "merged",
    "merged_weights",
    "padded",
    "plain_model",
    "quiet_transformers",
    "save_finished",
    "token_batches",
    "training_arguments",
    "training_device",
    "with_lora",
]
