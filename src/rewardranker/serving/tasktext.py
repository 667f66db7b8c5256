"""The task in a request, as the reranker read tasks in its training.

The rule: of a conversation with one user message, that message; of a longer one, all that user and assistant said, in
order. System messages are not read: they say how to answer, and there were none in the training. Where the message is
the instruction that the generator of the training was given, the task is what stands in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rewardranker.config import PromptOptions
from rewardranker.types import Json

_FUNCTION = re.compile(r"^[ \t]*(?:async[ \t]+)?def[ \t]+(\w+)[ \t]*\(", re.M)


def task_of_messages(messages: Sequence[Json], prompt: PromptOptions) -> str:
    """The task that a conversation states."""
    spoken = [message for message in messages if message.get("role") in ("user", "assistant")]
    texts = [text for message in spoken if (text := message_text(message))]
    if [message.get("role") for message in spoken] == ["user"] and texts:
        return without_instruction(texts[0], prompt)
    return "\n\n".join(texts)


def message_text(message: Json) -> str:
    """The text of a message, whose content may come in parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    found = [
        part.get("text") for part in parts if isinstance(part, dict) and part.get("type") in ("text", "input_text")
    ]
    return "\n".join(text for text in found if isinstance(text, str))


def without_instruction(text: str, prompt: PromptOptions) -> str:
    """The task in a message that was made with `prompt.instruction`; any other message as it is."""
    before, _, after = prompt.instruction.partition("{prompt}")
    if prompt.style == "chat" and text.startswith(before) and text.endswith(after):
        return text[len(before) : len(text) - len(after)]
    return text


def entry_point_of(task: str) -> str | None:
    """The function that a Python task asks for: the last one whose definition it begins."""
    found = _FUNCTION.findall(task)
    return found[-1] if found else None
