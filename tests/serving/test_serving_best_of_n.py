"""Best-of-n over real HTTP: what is drawn, what comes back, what happens when candidates fail."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_openai import FakeOpenAI, Fault
from serving_world import CountedRanker, Running, running

from rewardranker.serving.server import Parts

CHAT = "/v1/chat/completions"
TASK = [{"role": "user", "content": "def f():"}]


def digits(prompt: str, seed: int | None, index: int) -> list[str]:
    """Candidate i returns 3, 1, 4, 1, 5, ...: with a seed, i counts from it."""
    return ["```python\ndef f():\n    return ", "31415926"[(index + (seed or 0)) % 8], "\n```"]


@pytest.fixture
def upstream() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(digits) as fake:
        yield fake


@pytest.fixture
def ranker() -> CountedRanker:
    return CountedRanker()


@pytest.fixture
def server(upstream: FakeOpenAI, ranker: CountedRanker) -> Iterator[Running]:
    with running(Parts(reranker=ranker, upstream=upstream.url)) as under_way:
        yield under_way


def returned(answer: dict) -> list[str]:
    return [choice["message"]["content"].split("return ")[1][0] for choice in answer["choices"]]


def test_the_best_n_come_back_in_order(server: Running) -> None:
    answer = server.post(CHAT, {"messages": TASK, "n": 2, "best_of": 6}).json()
    assert returned(answer) == ["9", "5"]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]


def test_the_servers_default_is_drawn_in_one_request(server: Running, upstream: FakeOpenAI) -> None:
    server.post(CHAT, {"messages": TASK})
    assert [body["n"] for body in upstream.bodies] == [4]


def test_equal_programs_are_scored_once(server: Running, ranker: CountedRanker) -> None:
    told = server.post(CHAT, {"messages": TASK, "best_of": 4}).json()["rewardranker"]
    assert sorted(text[-1] for batch in ranker.batches for text in batch) == ["1", "3", "4"]
    assert (told["candidates"], told["distinct"], told["scored"]) == (4, 3, 3)


def test_the_reranker_reads_the_task_and_the_code_alone(server: Running, ranker: CountedRanker) -> None:
    server.post(CHAT, {"messages": TASK, "best_of": 1})
    assert ranker.batches == [["def f():def f():\n    return 3"]]


def test_scores_ranks_and_counts_stand_in_the_body_and_the_headers(server: Running) -> None:
    response = server.post(CHAT, {"messages": TASK, "best_of": 6, "n": 2})
    told = response.json()["rewardranker"]
    assert [(row["candidate"], row["rank"], row["score"], row["equal"]) for row in told["ranking"]] == [
        (5, 1, 9.0, 1),
        (4, 2, 5.0, 1),
    ]
    assert told["ranked_by"] == "reward"
    assert response.headers["x-rewardranker-candidates"] == "6"
    assert response.headers["x-rewardranker-score"] == "9"


def test_all_candidates_come_back_if_asked_for(server: Running) -> None:
    body = {"messages": TASK, "best_of": 4, "rewardranker": {"return_candidates": True}}
    ranking = server.post(CHAT, body).json()["rewardranker"]["ranking"]
    assert [row["code"][-1] for row in ranking] == ["4", "3", "1", "1"]
    assert [row["index"] for row in ranking] == [0, None, None, None]


def test_usage_counts_all_candidates(server: Running) -> None:
    usage = server.post(CHAT, {"messages": TASK, "best_of": 5}).json()["usage"]
    assert usage == {"prompt_tokens": 8, "completion_tokens": 15, "total_tokens": 23}


def test_what_the_server_does_not_read_is_passed_on(server: Running, upstream: FakeOpenAI) -> None:
    more = {"tools": [{"type": "function"}], "stop": ["x"], "top_p": 0.5, "max_tokens": 9, "some_new_field": {"a": 1}}
    server.post(CHAT, {"model": "tiny", "messages": TASK, "temperature": 0.7, "seed": 5, "stream": True, **more})
    assert upstream.bodies == [{"model": "tiny", "messages": TASK, "temperature": 0.7, "seed": 5, "n": 4, **more}]


def test_logprobs_come_through(server: Running) -> None:
    answer = server.post(CHAT, {"messages": TASK, "logprobs": True}).json()
    assert answer["choices"][0]["logprobs"]["content"][1]["token"] == "4"


def test_a_server_that_ignores_n_is_asked_one_by_one_and_that_is_remembered(ranker: CountedRanker) -> None:
    with FakeOpenAI(digits, choices=1) as fake, running(Parts(reranker=ranker, upstream=fake.url)) as server:
        assert returned(server.post(CHAT, {"messages": TASK, "best_of": 6, "seed": 0}).json()) == ["9"]
        assert [body.get("n") for body in fake.bodies] == [6, None, None, None, None, None]
        assert sorted(body["seed"] for body in fake.bodies) == [0, 1, 2, 3, 4, 5]
        fake.requests.clear()
        server.post(CHAT, {"messages": TASK, "best_of": 2})
        assert [body.get("n") for body in fake.bodies] == [None, None]


def test_usage_sums_what_single_requests_charged(ranker: CountedRanker) -> None:
    with FakeOpenAI(digits, choices=1) as fake, running(Parts(reranker=ranker, upstream=fake.url)) as server:
        usage = server.post(CHAT, {"messages": TASK, "best_of": 3}).json()["usage"]
    assert usage == {"prompt_tokens": 3 * 8, "completion_tokens": 3 * 3, "total_tokens": 33}


def test_a_server_that_refuses_n_is_asked_one_by_one(server: Running, upstream: FakeOpenAI) -> None:
    upstream.faults += [Fault(400)]
    told = server.post(CHAT, {"messages": TASK, "best_of": 3, "seed": 0}).json()["rewardranker"]
    assert (told["candidates"], told["failed"]) == (3, 0)


def test_failing_candidates_make_fewer_and_are_told(ranker: CountedRanker) -> None:
    with FakeOpenAI(digits, choices=1) as fake, running(Parts(reranker=ranker, upstream=fake.url)) as server:
        server.post(CHAT, {"messages": TASK, "best_of": 2})  # after this it draws one by one
        fake.faults += [Fault(500), Fault(400)]
        response = server.post(CHAT, {"messages": TASK, "best_of": 4})
        told = response.json()["rewardranker"]
        assert response.status_code == 200
        assert (told["candidates"], told["failed"]) == (2, 2)
        assert "2 candidates did not come" in told["warnings"][0]
        assert fake.url not in response.text


@pytest.mark.parametrize(("fault", "status"), [(400, 400), (404, 404), (500, 502), (401, 502), (429, 429)])
def test_no_candidate_at_all_is_an_error_that_names_no_address(
    fault: int, status: int, server: Running, upstream: FakeOpenAI
) -> None:
    upstream.faults += [Fault(fault)] * 2
    response = server.post(CHAT, {"messages": TASK})
    assert response.status_code == status
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert "127.0.0.1" not in response.text


def test_at_temperature_0_only_the_answers_are_drawn(server: Running, upstream: FakeOpenAI) -> None:
    server.post(CHAT, {"messages": TASK, "temperature": 0})
    assert "n" not in upstream.bodies[0]


def test_a_program_too_long_to_be_scored_is_last_and_told(upstream: FakeOpenAI) -> None:
    upstream.write = lambda prompt, seed, index: ["x = 1" + " " * (200 if index == 0 else 0) + "#"]
    with running(Parts(reranker=CountedRanker(max_length=100), upstream=upstream.url)) as server:
        told = server.post(CHAT, {"messages": TASK, "best_of": 2, "n": 2}).json()["rewardranker"]
    assert [row["candidate"] for row in told["ranking"]] == [1, 0]
    assert "could not be scored" in told["warnings"][0]


def test_completions_take_several_prompts(server: Running, ranker: CountedRanker) -> None:
    answer = server.post("/v1/completions", {"prompt": ["a", "b"], "n": 2, "best_of": 6}).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert [len(told["ranking"]) for told in answer["rewardranker"]["prompts"]] == [2, 2]
    assert {text[0] for batch in ranker.batches for text in batch} == {"a", "b"}


class TwoThenEnough:
    """A stopping rule that remembers what it was asked."""

    first_step, step = 2, 1

    def __init__(self) -> None:
        self.asked: list[tuple[list[float], list[str], int]] = []

    def should_stop(self, scores, programs, limit) -> bool:
        self.asked.append((scores, [program[-1] for program in programs], limit))
        return len(scores) >= 3


@pytest.mark.parametrize("adaptive", [True, False])
def test_a_stopping_rule_ends_drawing_early(adaptive: bool, upstream: FakeOpenAI, ranker: CountedRanker) -> None:
    rule = TwoThenEnough()
    with running(Parts(reranker=ranker, upstream=upstream.url, stopping=rule)) as server:
        body = {"messages": TASK, "best_of": 6, "seed": 0, "rewardranker": {"adaptive": adaptive}}
        told = server.post(CHAT, body).json()["rewardranker"]
    if adaptive:
        assert rule.asked == [([3.0, 1.0], ["3", "1"], 6), ([3.0, 1.0, 4.0], ["3", "1", "4"], 6)]
        assert [body["seed"] for body in upstream.bodies] == [0, 2]
    assert (told["candidates"], told["stopped_early"]) == ((3, True) if adaptive else (6, False))


def wordy(prompt: str, seed: int | None, index: int) -> list[str]:
    """Candidate 0 returns 3 in one token, candidate 1 returns 5 in four, each of log-probability -0.5 or less."""
    return ["return 3"] if index == 0 else ["return", " ", "  ", "5"]


@pytest.mark.parametrize(("weight", "best"), [(0.0, 1), (1.0, 0)])
def test_log_probability_is_added_with_its_weight(
    weight: float, best: int, upstream: FakeOpenAI, ranker: CountedRanker
) -> None:
    upstream.write = wordy
    with running(Parts(reranker=ranker, upstream=upstream.url, logprob_weight=weight)) as server:
        answer = server.post("/v1/completions", {"prompt": "x", "best_of": 2}).json()
    row = answer["rewardranker"]["ranking"][0]
    assert row["candidate"] == best
    assert row["score"] == (5.0 if best else 3.0 - 0.5)
    assert upstream.bodies[0].get("logprobs") == (1 if weight else None)
    assert answer["choices"][0]["logprobs"] is None  # nobody asked for them


def test_log_probabilities_that_are_not_told_are_missed_aloud(ranker: CountedRanker) -> None:
    with (
        FakeOpenAI(wordy, logprobs=False) as fake,
        running(Parts(reranker=ranker, upstream=fake.url, logprob_weight=1.0)) as server,
    ):
        told = server.post("/v1/completions", {"prompt": "x", "best_of": 2}).json()["rewardranker"]
    assert told["ranking"][0]["score"] == 5.0
    assert "no log-probabilities" in told["warnings"][0]
