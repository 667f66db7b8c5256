"""A small byte-level BPE whose merges may span spaces, for models trained from nothing.

Ordinary BPE stops at word boundaries; on short, regular programs that doubles the length of an example. Here only
newlines and digits stop a merge ("superwords"). Every byte is in the alphabet, so nothing is unknown and decoding gives
back exactly what was encoded. A digit is a token of its own: a small model copies a constant from the prompt only if
it is the same token in both places. Not guaranteed: a good vocabulary for text unlike the training text.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from rewardranker.errors import ConfigError

PAD, EOS = "<pad>", "<eos>"
SMALLEST = 256 + 2
"""The bytes and the two special tokens."""
SAMPLE = 20_000
"""At most so many of the texts are learnt from; more cost time and change little."""


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Train a tokenizer of at most `vocabulary` tokens; a `transformers.PreTrainedTokenizerFast`.

    Prompts and completions should be passed as texts of their own, as they are encoded apart. There is no
    beginning-of-sequence token. The same texts in the same order give the same tokenizer. Special tokens: `<pad>` 0,
    `<eos>` 1.

    Raises:
        ConfigError: `vocabulary` does not hold the 256 bytes and the special tokens.
    """
    if vocabulary < SMALLEST:
        raise ConfigError(f"model.scratch.vocabulary: {vocabulary} can't hold all bytes; give {SMALLEST} or more")
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\n|\p{N}"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    every = list(texts)
    if len(every) > SAMPLE:  # at random, since a regular pick could take only the prompts
        every = random.Random(0).sample(every, SAMPLE)
    backend.train_from_iterator(every, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        eos_token=EOS,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )
