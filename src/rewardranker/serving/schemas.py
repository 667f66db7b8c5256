"""The bodies of requests. Fields that are not named here go to the model server as they are."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from rewardranker.serving.errors import bad
from rewardranker.types import Json


def _writable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds half of a surrogate pair, which is no character") from None
    return text


AnyText = Annotated[str, AfterValidator(_writable)]
"""Text that a tokenizer can read."""
Text = Annotated[AnyText, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
OWN_FIELDS = ("n", "best_of", "stream", "stream_options", "rewardranker")


class Own(BaseModel):
    """What only this server reads, under the key `rewardranker`."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    language: Annotated[str, Field(pattern=r"^[\w+#-]{1,40}$")] = "python"
    """Of the programs asked for."""
    entry_point: Annotated[AnyText, Field(min_length=1, max_length=200)] | None = None
    """The function asked for; by default the last one whose definition the task begins."""
    tests: Annotated[list[Text], Field(max_length=100)] = []
    """Statements such as `assert f(1) == 2`: programs that fail them come last. The server must run programs."""
    verify: bool = False
    """Run the examples that the task shows as a doctest."""
    adaptive: bool = True
    """Draw fewer candidates where fewer are enough; false draws all."""
    return_candidates: bool = False
    """Give all candidates, not only the best n."""
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Seconds for this request, if less than the server's."""


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="allow")
    include_usage: bool | None = None


class Generation(BaseModel):
    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    model: str | None = None
    """By default the model server's first."""
    n: Count | None = None
    """Answers to give, the best first. [1]"""
    best_of: Count | None = None
    """Candidates to draw."""
    stream: bool | None = None
    """Give the answer as server-sent events, once it is known."""
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(allow_inf_nan=False)] | None = None
    seed: Seed | None = None
    rewardranker: Own | None = None


class Message(BaseModel):
    model_config = ConfigDict(extra="allow")
    role: Text
    content: str | list[dict[str, Any]] | None = None


class ChatBody(Generation):
    """`POST /v1/chat/completions`."""

    messages: Annotated[list[Message], Field(min_length=1)]


class CompletionBody(Generation):
    """`POST /v1/completions`. Prompts are texts, for the reranker can't read token ids of another model."""

    prompt: str | Annotated[list[str], Field(min_length=1)]
    echo: bool | None = None


class TextDocument(BaseModel):
    model_config = ConfigDict(extra="allow")
    text: AnyText


class RerankBody(BaseModel):
    """`POST /v1/rerank`, `/v2/rerank`, `/rerank`: as Cohere, Jina and vLLM have it."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    model: str | None = None
    """Any name: there is one reranker."""
    query: AnyText
    """The task."""
    documents: Annotated[list[AnyText | TextDocument], Field(min_length=1)]
    """Programs for it."""
    top_n: Count | None = None
    return_documents: bool | None = None
    """False leaves the documents out."""

    @property
    def texts(self) -> list[str]:
        return [document if isinstance(document, str) else document.text for document in self.documents]


class ScoreBody(BaseModel):
    """`POST /v1/score`, `/score`: as vLLM has it. One first text for all second ones, or as many of each."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    model: str | None = None
    text_1: AnyText | Annotated[list[AnyText], Field(min_length=1)]
    """The task, or tasks."""
    text_2: AnyText | Annotated[list[AnyText], Field(min_length=1)]
    """The program, or programs."""

    @model_validator(mode="before")
    @classmethod
    def _other_names(cls, values: Any) -> Any:
        """Newer vLLM says `queries` and `documents`."""
        if isinstance(values, dict) and "text_1" not in values and "queries" in values:
            return values | {"text_1": values["queries"], "text_2": values.get("documents", values.get("text_2"))}
        return values

    def pairs(self) -> list[tuple[str, str]]:
        """
        Raises:
            ApiError: the numbers of texts don't fit.
        """
        first = [self.text_1] if isinstance(self.text_1, str) else self.text_1
        second = [self.text_2] if isinstance(self.text_2, str) else self.text_2
        if len(first) == 1:
            first = first * len(second)
        if len(first) != len(second):
            raise bad(f"text_1 has {len(first)} texts and text_2 {len(second)}: give one, or as many", "text_1")
        return list(zip(first, second, strict=True))


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """What every failed request is answered with."""

    error: ErrorDetail


def forwarded(body: Generation) -> Json:
    """What goes to the model server: all that was given, less what only this server reads.

    Raises:
        ApiError: a value is nothing that can be sent on as JSON (NaN, half of a surrogate pair).
    """
    values = body.model_dump(exclude_unset=True)
    plain = {key: value for key, value in values.items() if key not in OWN_FIELDS}
    try:
        json.dumps(plain, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise bad(f"the body holds a value that JSON does not have: {type(error).__name__}") from None
    return plain
