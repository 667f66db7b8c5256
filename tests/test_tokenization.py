"""The trained tokenizer: lossless, superword, deterministic, and the same after saving."""

import pytest

from rewardranker.config import PromptOptions
from rewardranker.errors import ConfigError
from rewardranker.prompts import encode_completion, encode_prompt
from rewardranker.tasks.synthetic import corpus
from rewardranker.tokenization import train_tokenizer


@pytest.fixture(scope="module")
def examples():
    return corpus(1500, 0.46)


@pytest.fixture(scope="module")
def tokenizer(examples):
    return train_tokenizer([text for prompt, completion, _ in examples for text in (prompt, completion)], 640)


def test_round_trip_of_prompts_and_completions(tokenizer):
    for prompt, completion, _ in corpus(200, 0.5, seed=77):
        for text in (prompt, completion):
            assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


@pytest.mark.parametrize("text", ["a , b . 'll n't ?\n\n  x", "  lead", "é漢🙂\t\r\n", "", "\x00"])
def test_round_trip_of_any_text(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_tokens_span_spaces_but_never_newlines_or_digits(tokenizer):
    pieces = [tokenizer.decode([index]) for index in range(2, len(tokenizer))]
    assert any(" " in piece.strip() for piece in pieces)
    assert all(piece == "\n" or "\n" not in piece for piece in pieces)
    assert all(len(piece) == 1 or not any(c.isdigit() for c in piece) for piece in pieces)


def test_vocabulary_size_and_special_tokens(tokenizer):
    assert len(tokenizer) == 640
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id) == (0, 1, None)


def test_an_example_takes_about_45_tokens(tokenizer, examples):
    options = PromptOptions()
    lengths = [
        len(encode_prompt(tokenizer, p, options)) + len(encode_completion(tokenizer, c, options, end=True))
        for p, c, _ in examples
    ]
    assert sum(lengths) / len(lengths) < 50


def test_same_texts_same_tokenizer(tokenizer, examples):
    again = train_tokenizer([text for p, c, _ in examples for text in (p, c)], 640)
    assert again.get_vocab() == tokenizer.get_vocab()
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()


def test_saved_and_loaded_it_is_the_same(tokenizer, examples, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for prompt, completion, _ in examples[:100]:
        ids = tokenizer.encode(prompt + completion)
        assert loaded.encode(prompt + completion) == ids
        assert loaded.decode(ids) == prompt + completion
    assert loaded.decode(loaded.encode("a , b . n't")) == "a , b . n't"


def test_prompts_and_completions_are_both_learnt_from_in_a_long_list(examples):
    """A sample of the texts is learnt from; a regular pick would see only the prompts of alternating lists."""
    texts = [text for p, c, _ in examples for text in (p, c)] * 40
    tokenizer = train_tokenizer(texts, 640)
    completions = [len(tokenizer.encode(c)) for _, c, _ in examples]
    assert sum(completions) / len(completions) < 25


def test_too_small_a_vocabulary_is_refused():
    with pytest.raises(ConfigError, match="258 or more"):
        train_tokenizer(["abc"], 257)


@pytest.mark.parametrize(("given", "fence"), [({}, "python"), ({"language": "rust"}, "rust")])
def test_a_chat_answer_is_fenced_with_the_tasks_language(tokenizer, given, fence):
    ids = encode_completion(tokenizer, "\nx = 1\n", PromptOptions(style="chat"), end=False, **given)
    assert tokenizer.decode(ids) == f"```{fence}\nx = 1\n```"
    plain = encode_completion(tokenizer, "x = 1", PromptOptions(), end=False, **given)
    assert tokenizer.decode(plain) == "x = 1"
