"""Sampling from an OpenAI-compatible server over real HTTP: what is asked, what becomes of the answers."""

import threading

import pytest
from fake_openai import CUT, FakeOpenAI, Fault

from rewardranker.config import PromptOptions, SamplingOptions
from rewardranker.errors import ConfigError, ModelServerError
from rewardranker.generation import OpenAISampler, sample_to_file
from rewardranker.generation.openai_answers import Choice, read_choices, read_models
from rewardranker.runs import read_records
from rewardranker.types import Sample, Task

TASKS = [Task(f"t/{i}", f"def f{i}():\n", entry_point=f"f{i}") for i in range(5)]
CHAT = PromptOptions(style="chat", system="Be brief.", instruction="Please: {prompt}")


def sampler(server, model="tiny", prompt=None, *, sampling=None, **options):
    settings = SamplingOptions(**{"max_new_tokens": 16, **(sampling or {})})
    return OpenAISampler(
        server.url,
        model,
        settings,
        prompt or PromptOptions(),
        **{"timeout": 5.0, "retries": 3, "max_concurrency": 4, **options},
    )


def drawn(server, n=4, tasks=TASKS, **options):
    return list(sampler(server, **options).sample(tasks, n))


def seeded(prompt, seed, index):
    """As servers do that honour `n`: each choice has a seed of its own."""
    return [f"    return {(seed + index) % 1000}", "\n"]


def same_seed(prompt, seed, index):
    return [f"    return {seed}", "\n"]


def test_samples_come_in_order_with_columns():
    with FakeOpenAI(seeded) as server:
        groups = drawn(server, sampling={"seed": 7, "temperature": 0.5, "top_p": 0.9})
    assert [[(s.task_id, s.sample_id) for s in group] for group in groups] == [
        [(task.task_id, i) for i in range(4)] for task in TASKS
    ]
    for task, group in zip(TASKS, groups, strict=True):
        for s in group:
            assert (s.model, s.seed, s.temperature, s.top_p, s.finish_reason) == ("tiny", 7, 0.5, 0.9, "stop")
            assert s.program == task.prompt + s.text
            assert s.token_logprobs == (-0.5, -0.75)


def test_one_request_a_task_where_the_server_gives_n():
    with FakeOpenAI(seeded) as server:
        drawn(server)
        assert sorted(body["n"] for body in server.bodies) == [4] * 5
        assert {(body["max_tokens"], body["temperature"], body["top_p"]) for body in server.bodies} == {(16, 1.0, 1.0)}


@pytest.mark.parametrize("most", [1, 2, 3])
def test_a_server_that_gives_fewer_is_asked_for_the_rest(most):
    with FakeOpenAI(seeded, choices=most) as server:
        groups = drawn(server)
        again = drawn(server)
    assert [len({s.text for s in group}) for group in groups] == [4] * 5
    assert groups == again  # also though the first request asked for more than came, and the later ones did not


def test_a_server_that_refuses_n_is_asked_one_by_one():
    with FakeOpenAI(same_seed) as server:
        server.faults.append(Fault(400, {}, '{"error": {"message": "n must be 1"}}'))
        groups = drawn(server, tasks=TASKS[:1])
        assert ["n" in body for body in server.bodies] == [True] + [False] * 4
    assert len({s.text for s in groups[0]}) == 4


def test_a_server_that_uses_one_seed_for_all_choices_is_asked_one_by_one():
    with FakeOpenAI(same_seed) as server:
        groups = drawn(server)
    assert [len({s.text for s in group}) for group in groups] == [4] * 5


def test_a_model_that_is_sure_gives_equal_samples():
    with FakeOpenAI(lambda prompt, seed, index: ["    pass\n"]) as server:
        groups = drawn(server)
    assert {s.text for group in groups for s in group} == {"    pass\n"}


def test_seeds_differ_by_task_and_number_and_not_by_n():
    with FakeOpenAI(same_seed, choices=1) as server:
        few, many, other = drawn(server, n=3), drawn(server, n=6), drawn(server, n=3, sampling={"seed": 1})
    assert few == [group[:3] for group in many]
    texts = [s.text for group in [*many, *other] for s in group]
    assert len(set(texts)) == len(texts) == 5 * 6 + 5 * 3


def test_greedy_is_asked_once():
    with FakeOpenAI(seeded) as server:
        (group,) = drawn(server, tasks=TASKS[:1], sampling={"temperature": 0})
        assert len(server.requests) == 1
        assert "n" not in server.bodies[0]
    assert len(group) == 4
    assert len({s.text for s in group}) == 1


def test_chat_asks_by_messages_and_extracts_the_code():
    with FakeOpenAI(
        lambda prompt, seed, index: ["Sure:\n```python\n", "def f0():\n", f"    return {seed + index}\n", "```"]
    ) as server:
        (group,) = drawn(server, tasks=TASKS[:1], prompt=CHAT)
        path, body, _ = server.requests[0]
    assert path == "/v1/chat/completions"
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Please: def f0():\n"},
    ]
    assert group[0].completion.startswith("def f0():\n    return ")
    assert group[0].program == group[0].completion
    assert len(group[0].token_logprobs) == 4


def test_a_task_ends_at_its_own_stop_text_even_where_the_server_ignores_it():
    task = Task("t", "def f():\n", stop=("\ndef",))
    words = ["    return 1", "\n", "de", "f g()", ": pass"]
    with FakeOpenAI(lambda prompt, seed, index: words, finish_reason="length") as server:
        ((sample,),) = drawn(server, n=1, tasks=[task], sampling={"stop": ("STOP",)})
        assert server.bodies[0]["stop"] == ["STOP", "\ndef"]
    assert (sample.text, sample.finish_reason) == ("    return 1", "stop")
    assert len(sample.token_logprobs) == 4  # up to the token that completes the stop text


def test_what_the_server_cut_counts_as_length():
    with FakeOpenAI(seeded, finish_reason="content_filter") as server:
        assert {s.finish_reason for s in drawn(server)[0]} == {"length"}


@pytest.mark.parametrize("fault", [Fault(429, {"Retry-After": "0"}), Fault(500), CUT], ids=["429", "500", "cut"])
def test_faults_on_the_way_change_nothing(fault):
    with FakeOpenAI(seeded) as server:
        expected = drawn(server)
        server.faults += [fault] * 3
        assert drawn(server) == expected
        assert server.faults == []


def test_no_more_requests_at_once_than_allowed():
    with FakeOpenAI(seeded, choices=1, seconds=0.01) as server:
        drawn(server, max_concurrency=3)
        assert server.most_at_once == 3


def test_an_unknown_model_is_answered_with_the_known_ones():
    with FakeOpenAI(models=("small", "large")) as server:
        with pytest.raises(ConfigError, match="no model 'tiny'; it has: small, large"):
            drawn(server)
        with pytest.raises(ConfigError, match=r"several models.*small, large"):
            drawn(server, model=None)
        assert server.requests == []


def test_the_only_model_is_taken_when_none_is_named():
    with FakeOpenAI(seeded, models=("only",)) as server:
        assert sampler(server, None).record_fields["model"] == "only"
        assert drawn(server, model=None)[0][0].model == "only"


def test_missing_log_probabilities_are_an_error_only_where_required():
    with FakeOpenAI(seeded, logprobs=False) as server:
        assert drawn(server)[0][0].token_logprobs == ()
        with pytest.raises(ModelServerError, match=r"task 't/0'.*no log-probabilities.*--logprobs"):
            drawn(server, logprobs="required")


def test_a_server_that_refuses_log_probabilities_is_asked_without():
    refusal = Fault(400, {}, '{"error": {"message": "logprobs is not supported"}}')
    with FakeOpenAI(seeded) as server:
        server.faults.append(refusal)
        once = sampler(server)
        groups = [*once.sample(TASKS[:1], 4), *once.sample(TASKS[1:2], 4)]
        assert ["logprobs" in body for body in server.bodies] == [True, False, False]
        assert groups[1][0].token_logprobs == ()
        server.faults.append(refusal)
        with pytest.raises(ModelServerError, match="logprobs is not supported"):
            drawn(server, logprobs="required")


def test_log_probabilities_are_not_asked_for_when_off():
    with FakeOpenAI(seeded) as server:
        drawn(server, logprobs="off")
        assert not any("logprobs" in body for body in server.bodies)


def test_a_refused_request_names_its_task():
    with FakeOpenAI(seeded) as server:
        server.faults += [Fault(400, {}, '{"error": {"message": "maximum context length is 512"}}')] * 2
        with pytest.raises(ModelServerError, match=r"task 't/0'.*status 400: maximum context length is 512"):
            drawn(server, tasks=TASKS[:1])


def test_extra_fields_are_sent():
    with FakeOpenAI(seeded) as server:
        drawn(server, extra={"chat_template_kwargs": {"enable_thinking": False}})
        assert server.bodies[0]["chat_template_kwargs"] == {"enable_thinking": False}


def test_servers_with_settings_of_their_own_are_told_to_draw_from_the_whole_distribution():
    vllm = read_models({"data": [{"id": "a", "owned_by": "vllm"}]})
    llama = read_models({"data": [{"id": "a", "aliases": ["b"], "owned_by": "llamacpp"}]})
    assert vllm.request_fields["repetition_penalty"] == 1.0
    assert llama.request_fields["top_k"] == 0
    assert llama.names == ("a", "b")
    assert read_models({"data": [{"id": "gpt", "owned_by": "openai"}]}).request_fields == {}


def test_token_ids_of_llama_cpp_and_of_vllm_are_read():
    listed = {"content": [{"id": 5, "token": "a", "logprob": -1.0}, {"id": 6, "token": "b", "logprob": -2.0}]}
    (llama,) = read_choices({"choices": [{"text": "ab", "index": 0, "logprobs": listed}]}, "")
    beside = {"tokens": ["a", "b"], "token_logprobs": [-1.0, -2.0]}
    (vllm,) = read_choices({"choices": [{"text": "ab", "logprobs": beside, "token_ids": [5, 6]}]}, "")
    assert llama == vllm == Choice("ab", "stop", (5, 6), ("a", "b"), (-1.0, -2.0))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({}, "no choices"),
        ({"choices": []}, "no choices"),
        ({"choices": [{"index": 0}]}, "neither text nor message"),
        ({"choices": [{"text": "a", "finish_reason": "abort"}]}, "gave a request up"),
    ],
)
def test_an_answer_without_a_text_is_an_error(answer, message):
    with pytest.raises(ModelServerError, match=message):
        read_choices(answer, "http://host/v1/completions")


def test_a_file_stopped_by_a_dead_server_is_gone_on_with(tmp_path):
    path = tmp_path / "samples.jsonl"
    with FakeOpenAI(seeded) as server:
        sample_to_file(sampler(server), TASKS, 4, tmp_path / "whole.jsonl")
    with FakeOpenAI(seeded) as server:
        half = sampler(server, max_concurrency=1, retries=0)
        answer = server.answer
        server.answer = lambda path, body: answer(path, body) if len(server.requests) < 4 else (503, {"error": "gone"})
        with pytest.raises(ModelServerError, match=r"t/3.*503"):
            sample_to_file(half, TASKS, 4, path)
    assert len(list(read_records(path, Sample))) == 3 * 4
    with FakeOpenAI(seeded) as server:
        figures = sample_to_file(sampler(server), TASKS, 4, path)
        assert len(server.requests) == 2
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert (figures["samples"], figures["tokens"]) == (20, 40)


def test_the_key_is_sent_and_in_no_record(tmp_path):
    path = tmp_path / "samples.jsonl"
    with FakeOpenAI(seeded) as server:
        sample_to_file(sampler(server, api_key="sk-secret"), TASKS, 2, path)
        assert {headers["Authorization"] for *_, headers in server.requests} == {"Bearer sk-secret"}
    assert b"sk-secret" not in path.read_bytes()


def test_an_unfinished_iteration_leaves_no_thread_behind():
    with FakeOpenAI(seeded, seconds=0.01) as server:
        groups = sampler(server).sample(TASKS, 2)
        next(groups)
        groups.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "rewardranker-requests"]
