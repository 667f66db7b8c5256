"""The sampler: reproducible samples, stop texts, end tokens, programs."""

import pytest
from generation_world import new_llama, new_sampler, new_tasks, new_tokenizer

from rewardranker.config import PromptOptions, SamplingOptions
from rewardranker.errors import ConfigError, ModelError
from rewardranker.generation import TransformersSampler, assemble_program, extract_code, sample
from rewardranker.generation.stopping import StopTexts
from rewardranker.types import Task

CHAT_TEMPLATE = (
    "{% for m in messages %}<s>{{ m['role'] }}: {{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant: {% endif %}"
)


def drawn(sampler, tasks, n):
    """Samples by (task, number), without the columns that floating-point noise may touch."""
    return {
        (s.task_id, s.sample_id): (s.token_ids, s.text, s.program, s.finish_reason)
        for group in sampler.sample(tasks, n)
        for s in group
    }


@pytest.mark.parametrize("batch_tasks", [1, 2, 10])
def test_samples_do_not_depend_on_the_batch_size(batch_tasks):
    tasks = new_tasks(10)
    assert drawn(new_sampler(batch_tasks=batch_tasks), tasks, 4) == drawn(new_sampler(batch_tasks=3), tasks, 4)


def test_samples_do_not_depend_on_the_order_of_tasks():
    tasks = new_tasks(10)
    assert drawn(new_sampler(), tasks[::-1], 4) == drawn(new_sampler(), tasks, 4)


def test_the_first_samples_of_many_are_the_samples_of_few():
    tasks = new_tasks(5)
    few, many = drawn(new_sampler(), tasks, 4), drawn(new_sampler(), tasks, 8)
    assert few == {key: value for key, value in many.items() if key[1] < 4}


def test_samples_differ_within_a_task_and_between_seeds():
    tasks = new_tasks(5)
    first, second = drawn(new_sampler(seed=0), tasks, 8), drawn(new_sampler(seed=1), tasks, 8)
    assert len({value[0] for value in first.values()}) > 35
    assert sum(first[key] == second[key] for key in first) < 5


def test_order_and_columns_of_the_records():
    tasks = new_tasks(4)
    groups = list(new_sampler(temperature=0.7, top_p=0.9, seed=5).sample(tasks, 3, round=2))
    assert [[(s.task_id, s.sample_id) for s in group] for group in groups] == [
        [(task.task_id, i) for i in range(3)] for task in tasks
    ]
    for task, group in zip(tasks, groups, strict=True):
        for record in group:
            assert (record.model, record.seed, record.temperature, record.top_p, record.round) == (
                "tiny",
                5,
                0.7,
                0.9,
                2,
            )
            assert record.completion == record.text
            assert record.program == task.prompt + record.text
            assert len(record.token_logprobs) == len(record.token_ids) > 0


def test_temperature_zero_is_greedy():
    sampler, tasks = new_sampler(temperature=0), new_tasks(3)
    hot = drawn(new_sampler(temperature=0.001), tasks, 1)
    for task, group in zip(tasks, sampler.sample(tasks, 3), strict=True):
        assert [s.token_ids for s in group] == [hot[task.task_id, 0][0]] * 3
        assert [s.sample_id for s in group] == [0, 1, 2]


def test_stop_text_cuts_the_text_and_keeps_the_tokens_that_complete_it():
    tasks = new_tasks(6)
    free = drawn(new_sampler(), tasks, 8)
    # Stop texts that the samples hold: two characters that meet at the border of two tokens, and a newline or space.
    tokenizer = new_tokenizer()
    first = next(ids for ids, text, *_ in free.values() if len(ids) > 6 and text.isprintable())
    border = tokenizer.decode(first[2:3])[-1] + tokenizer.decode(first[3:4])[0]
    for stops in [(border,), (" ", "\n"), ("\n", border)]:
        stopped = drawn(new_sampler(stop=stops), tasks, 8)
        found = 0
        for key, (ids, text, _program, _reason) in free.items():
            places = [place for place in (text.find(stop) for stop in stops) if place >= 0]
            if not places:
                assert stopped[key] == free[key]
                continue
            found += 1
            kept, shown = stopped[key][0], stopped[key][1]
            assert shown == text[: min(places)]
            assert kept == ids[: len(kept)]
            assert any(stop in tokenizer.decode(kept) for stop in stops)
            assert not any(stop in tokenizer.decode(kept[:-1]) for stop in stops)
            assert stopped[key][3] == "stop"
        assert found > 0


def test_a_task_has_stop_texts_of_its_own():
    plain = new_tasks(1)[0]
    text = next(s.text for s in next(new_sampler().sample([plain], 8)) if len(s.text) > 5)
    task = Task(plain.task_id, plain.prompt, stop=(text[3],))
    assert all(text[3] not in s.text for s in next(new_sampler().sample([task], 8)))
    assert any(text[3] in s.text for s in next(new_sampler().sample([plain], 8)))


def test_a_chat_answer_is_not_cut_at_the_tasks_stop_texts():
    sampler = new_sampler(PromptOptions(style="chat"))
    sampler.tokenizer.chat_template = CHAT_TEMPLATE
    prompt, stops = "def f(x):\n", tuple("abcdefghijklmnopqrstuvwxyz")
    free = next(sampler.sample([Task("t", prompt)], 8))
    assert next(sampler.sample([Task("t", prompt, stop=stops)], 8)) == free
    assert any(set(s.text) & set(stops) for s in free)


@pytest.mark.parametrize("stops", [("e",), ("e", "\n"), ("é", "e")], ids=repr)
def test_decoding_ends_at_the_stop_text(stops):
    sampler = new_sampler(stop=stops, max_new_tokens=100)
    calls = []
    sampler.model.register_forward_pre_hook(
        lambda _model, _args, kwargs: calls.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    samples = next(sampler.sample(new_tasks(1), 16))
    assert sum(calls[1:]) == sum(len(s.token_ids) - 1 for s in samples)  # no row went on after its end


def test_a_stop_text_that_decoding_missed_is_found_at_the_end():
    tokenizer = new_tokenizer()
    ids = tokenizer.encode("    return a + b\nprint(é)\n", add_special_tokens=False)
    text, count = StopTexts(tokenizer, ["\npr", "é"]).cut(ids)
    assert text == "    return a + b"
    assert "\npr" in tokenizer.decode(ids[:count])
    assert "\npr" not in tokenizer.decode(ids[: count - 1])
    assert StopTexts(tokenizer, ["class"]).cut(ids) == ("    return a + b\nprint(é)\n", None)


def test_stop_texts_of_several_bytes_are_noticed_at_their_last_token():
    tokenizer = new_tokenizer()
    stop = StopTexts(tokenizer, ["é→"])
    ids = tokenizer.encode("x = 'aé→b'", add_special_tokens=False)
    noticed = [count for count in range(1, len(ids) + 1) if stop.completed(ids[:count])]
    assert "é→" in tokenizer.decode(ids[: noticed[0]])
    assert "é→" not in tokenizer.decode(ids[: noticed[0] - 1])


def test_an_empty_stop_text_is_refused():
    with pytest.raises(ConfigError, match="empty"):
        list(new_sampler(stop=("",)).sample(new_tasks(1), 1))


def test_end_tokens_are_those_of_tokenizer_and_generation_settings():
    tokenizer = new_tokenizer()
    model = new_llama(len(tokenizer))
    model.generation_config.eos_token_id = [7, 9]
    sampler = TransformersSampler(model, tokenizer, SamplingOptions(), PromptOptions(), "tiny")
    assert sampler.end_token_ids == {tokenizer.eos_token_id, 7, 9}
    model.generation_config.eos_token_id = None
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="end token"):
        TransformersSampler(model, tokenizer, SamplingOptions(), PromptOptions(), "tiny")


def test_end_token_is_kept_in_the_tokens_and_not_in_the_text():
    sampler = new_sampler()
    ended = [s for group in sampler.sample(new_tasks(6), 8) for s in group if s.token_ids[-1] in sampler.end_token_ids]
    assert ended
    for record in ended:
        assert record.finish_reason == "stop"
        assert record.text == sampler.tokenizer.decode(record.token_ids[:-1], skip_special_tokens=True)


def test_a_prompt_too_long_for_the_model_is_refused_by_name():
    tasks = [*new_tasks(2), Task("long one", "x = 1\n" * 100)]
    with pytest.raises(ModelError, match=r"task 'long one'.*192 positions.*lower sampling\.max_new_tokens"):
        list(new_sampler().sample(tasks, 1))


def test_chat_answers_become_programs():
    sampler, read = new_sampler(PromptOptions(style="chat", instruction="Solve:\n{prompt}")), []
    sampler.tokenizer.chat_template = CHAT_TEMPLATE
    sampler.model.register_forward_pre_hook(
        lambda _model, _args, kwargs: read.append(kwargs["input_ids"]), with_kwargs=True
    )
    task = Task("t", "import math\n\n\ndef f(x):\n", entry_point="f")
    records = next(sampler.sample([task], 4))
    asked = f"<s>user: Solve:\n{task.prompt}</s><s>assistant: "
    assert sampler.tokenizer.decode(read[0][0]) == asked
    for record in records:
        assert record.completion == extract_code(record.text, "f")
        assert record.program == assemble_program(task, record.completion)


def test_sample_function_loads_a_folder_and_checks_its_options(tmp_path):
    sampler, tasks = new_sampler(), new_tasks(2)
    sampler.model.save_pretrained(tmp_path / "model")
    sampler.tokenizer.save_pretrained(tmp_path / "model")
    records = sample(tasks, str(tmp_path / "model"), n=2, seed=1, max_new_tokens=10)
    assert [(s.task_id, s.sample_id) for s in records] == [(t.task_id, i) for t in tasks for i in range(2)]
    assert {len(s.token_ids) for s in records} <= set(range(1, 11))
    with pytest.raises(ConfigError, match="temperature"):
        sample(tasks, sampler, temprature=0.5)


def test_sample_function_keeps_a_samplers_own_options():
    sampler, tasks = new_sampler(seed=4), new_tasks(2)
    own = [s for group in sampler.sample(tasks, 2) for s in group]
    assert sample(tasks, sampler, n=2) == own
    assert {s.seed for s in sample(tasks, sampler, n=2, seed=5)} == {5}
