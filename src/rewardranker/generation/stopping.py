"""Stop texts: where a text that no single token stands for ends a completion.

Not guaranteed: noticing a stop text during decoding when tokens that decode to nothing stand inside it; `cut` finds
it at the end all the same, so only time is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewardranker.errors import ConfigError


class StopTexts:
    """Finds any of several texts in what a row has written so far."""

    def __init__(self, tokenizer: Any, texts: Sequence[str]) -> None:
        """
        Raises:
            ConfigError: an empty stop text, which would end every completion before it begins.
        """
        if not all(texts):
            raise ConfigError("a stop text is empty: remove it from sampling.stop or the task's stop")
        self._tokenizer = tokenizer
        self._texts = tuple(texts)
        # The newest token completes a stop text, each token before it adds at least a byte; some to spare, because
        # decoders treat the first token of a text specially.
        self._window = max((len(text.encode()) for text in texts), default=0) + 4
        last = {text[-1] for text in texts}
        # A token's own text shows whether it can complete a stop text, except for what decoders alter: spaces at the
        # start, and characters of several bytes split among tokens.
        self._last = last if all(char.isascii() and not char.isspace() for char in last) else None
        self._candidates: dict[int, bool] = {}

    def __bool__(self) -> bool:
        return bool(self._texts)

    def completed(self, token_ids: Sequence[int]) -> bool:
        """Whether the last of these tokens completes a stop text; a few microseconds for most tokens."""
        if not self._texts or not self._can_complete(token_ids[-1]):
            return False
        return self._contains(token_ids[-self._window :])

    def cut(self, token_ids: Sequence[int]) -> tuple[str, int | None]:
        """The text of these tokens up to the first stop text, and the number of tokens up to the one that completed it.

        The number is None when there is no stop text in it.
        """
        text = decode_text(self._tokenizer, token_ids)
        places = [place for place in (text.find(stop) for stop in self._texts) if place >= 0]
        if not places:
            return text, None
        count = len(token_ids)
        while count > 1 and self._contains(token_ids[: count - 1]):
            count -= 1
        return text[: min(places)], count

    def _can_complete(self, token_id: int) -> bool:
        if self._last is None:
            return True
        if token_id not in self._candidates:
            text = decode_text(self._tokenizer, [token_id])
            self._candidates[token_id] = any(char in text for char in self._last)
        return self._candidates[token_id]

    def _contains(self, token_ids: Sequence[int]) -> bool:
        text = decode_text(self._tokenizer, token_ids)
        return any(stop in text for stop in self._texts)


def decode_text(tokenizer: Any, token_ids: Sequence[int]) -> str:
    """What these tokens say: special tokens left out, spaces as they are."""
    return str(tokenizer.decode(list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))
