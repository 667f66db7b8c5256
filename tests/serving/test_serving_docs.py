"""What docs/serving.md shows is answered as it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_openai import FakeOpenAI
from serving_world import CountedRanker, Running, running

from rewardranker.cli.calibrate import command as calibrate
from rewardranker.cli.serve import command as serve
from rewardranker.config import JudgeOptions
from rewardranker.serving import errors, schemas
from rewardranker.serving.server import Parts

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "serving.md").read_text()
BODIES = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with FakeOpenAI(
        lambda prompt, seed, index: [f"```python\ndef add(a, b):\n    return a + b  # {index}\n```"]
    ) as fake:
        parts = Parts(reranker=CountedRanker(), upstream=fake.url, judge=JudgeOptions(), judge_workers=1)
        with running(parts) as under_way:
            yield under_way


@pytest.mark.parametrize("body", BODIES, ids=lambda body: next(iter(body)))
def test_every_body_is_answered(body: dict, server: Running) -> None:
    path = "/v1/chat/completions" if "messages" in body else "/v1/rerank" if "query" in body else "/v1/score"
    answer = server.post(path, body)
    assert answer.status_code == 200
    if "messages" in body:
        told = answer.json()["rewardranker"]
        assert set(told) == set(re.findall(r"`(\w+)`", _table("`rewardranker`", first_column=True)))
        shown = set(re.findall(r"`(\w+)`", _row("`ranking`")))
        assert set(told["ranking"][0]) - {"text", "code"} <= shown


def test_there_are_as_many_bodies_as_routes_that_take_one() -> None:
    assert len(BODIES) == 4


def test_the_fields_of_a_request_are_those_of_the_code() -> None:
    shown = re.findall(r"`(\w+)`", _table("field", first_column=True))
    assert shown == list(schemas.Own.model_fields)


def test_the_options_named_exist() -> None:
    named = set(re.findall(r"`(--[a-z-]+)", PAGE)) | set(
        re.findall(r" (--[a-z-]+)", "".join(re.findall(r"\nrewardranker .*", PAGE)))
    )
    known = {option for one in (serve, calibrate) for parameter in one.params for option in parameter.opts}
    known |= {"--help", "--build-arg"}
    assert named <= known, named - known


def test_the_errors_named_are_those_of_the_code() -> None:
    source = "".join(path.read_text() for path in Path(errors.__file__).parent.glob("*.py"))
    codes = set(re.findall(r"`(\w+)`", _table("status", column=2)))
    assert len(codes) > 8
    assert {code for code in codes if f'"{code}"' not in source} == set()


def _table(head: str, first_column: bool = False, column: int = 1) -> str:
    """The rows of the table whose first column has this title."""
    found = re.search(rf"^\| {re.escape(head)} \|.*\n\|[-|]+\n((\|.*\n)+)", PAGE, re.M)
    assert found
    rows = found[1].splitlines()
    return "\n".join(row.split("|")[1 if first_column else column] for row in rows)


def _row(cell: str) -> str:
    return next(line for line in PAGE.splitlines() if line.startswith(f"| {cell} |"))
