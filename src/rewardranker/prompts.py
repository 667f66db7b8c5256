"""How a task becomes a model's input: one rendering, shared by generator, reward model and policy.

Prompt and completion are encoded apart and joined as tokens, so a token never spans the boundary and the prompt's
tokens are the same for all candidates.
"""

from __future__ import annotations

from typing import Any

from rewardranker.config import PromptOptions
from rewardranker.errors import ModelError


def encode_prompt(tokenizer: Any, prompt: str, options: PromptOptions) -> list[int]:
    """Token ids up to where the model starts writing.

    Raises:
        ModelError: `chat` style with a tokenizer that has no chat template.
    """
    if options.style == "plain":
        ids = tokenizer.encode(prompt, add_special_tokens=False)
        bos = tokenizer.bos_token_id
        return [bos, *ids] if bos is not None else list(ids)
    if not tokenizer.chat_template:
        raise ModelError("prompt.style is 'chat' but the tokenizer has no chat template: set prompt.style=plain")
    messages = [{"role": "user", "content": options.instruction.replace("{prompt}", prompt)}]
    if options.system is not None:
        messages.insert(0, {"role": "system", "content": options.system})
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return list(tokenizer.encode(text, add_special_tokens=False))


def encode_completion(
    tokenizer: Any, completion: str, options: PromptOptions, end: bool, language: str = "python"
) -> list[int]:
    """Token ids of a program as the model would write it: bare in `plain` style, a fenced block in `chat` style.

    Args:
        end: append the end-of-sequence token (training targets); without it the last token is the program's own.
        language: names the fence. A generator learns to write it; a reward model reads the default's around programs
            of all languages, since what it scores are pairs of texts that do not name one.

    Raises:
        ModelError: `end` with a tokenizer that has no end-of-sequence token.
    """
    text = completion if options.style == "plain" else f"```{language}\n{completion.strip()}\n```"
    ids = list(tokenizer.encode(text, add_special_tokens=False))
    if end:
        if tokenizer.eos_token_id is None:
            raise ModelError("the tokenizer has no end-of-sequence token: the generator could never stop")
        ids.append(tokenizer.eos_token_id)
    return ids
