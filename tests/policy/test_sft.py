"""Supervised fine-tuning: what it learns, what it refuses, and that a kill changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from rewardranker.config import PromptOptions, ScratchModel, SFTOptions
from rewardranker.errors import DataError, RunDirectoryError, TrainingError
from rewardranker.models import load_causal_lm, new_llama
from rewardranker.policy.sft import collate, completion_loss, encode_examples, sft_figures, target_logits, train_sft
from rewardranker.training import MARKER, checkpoints_folder, has_plain_head

PLAIN = PromptOptions()
EXAMPLES = [(f"def f{i % 10}(x):\n", f"    return x + {i % 10}\n") for i in range(60)]
QUICK = SFTOptions(learning_rate=3e-3, batch_tokens=128, epochs=1.3, save_steps=5)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def byte_tokenizer(bos: bool = True) -> Any:
    vocabulary = {token: i for i, token in enumerate(["<eos>", "<bos>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    marks = {"bos_token": "<bos>"} if bos else {}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", pad_token="<eos>", **marks)


def tiny_llama(seed: int = 0) -> Any:
    options = ScratchModel(hidden_size=32, layers=1, heads=2, intermediate_size=64, max_positions=64)
    return new_llama(options, byte_tokenizer(), seed)


def tiny_gpt2() -> Any:
    """With dropout, so that resumption must restore the random state too."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=258, n_embd=32, n_layer=1, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=0)
    return GPT2LMHeadModel(config)


def train(folder: Path, options: SFTOptions = QUICK, model: Any = None, **more: Any) -> Path:
    return train_sft(EXAMPLES, model or tiny_llama(), byte_tokenizer(), options, PLAIN, folder, device="cpu", **more)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


# --- what it learns ---------------------------------------------------------------------------------------------


def test_loss_is_that_of_completion_and_end_token_alone() -> None:
    model, tokenizer = tiny_llama(), byte_tokenizer()
    (example,) = encode_examples(EXAMPLES[:1], tokenizer, PLAIN, 64, False)
    prompt, completion = example
    assert completion[-1] == tokenizer.eos_token_id
    labels = torch.tensor([[-100] * len(prompt) + completion])
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([prompt + completion]), labels=labels).loss
    assert completion_loss(model, [example], 999) == pytest.approx(float(expected), rel=1e-5)


def test_a_chat_answer_is_learnt_with_the_fence_of_its_language() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    texts = [("p", "x"), ("p", "x", "rust")]
    answers = [c for _, c in encode_examples(texts, tokenizer, PromptOptions(style="chat"), 64, False)]
    assert [tokenizer.decode(ids[:-1]) for ids in answers] == ["```python\nx\n```", "```rust\nx\n```"]


@pytest.mark.parametrize("plain_head", [True, False])
def test_logits_do_not_depend_on_the_other_rows_of_the_batch(plain_head: bool) -> None:
    model, tokenizer = tiny_llama(), byte_tokenizer()
    examples = encode_examples([("a", "b"), ("long prompt", "and a longer completion")], tokenizer, PLAIN, 64, False)
    both, alone = collate(examples), collate(examples[:1])
    with torch.no_grad():
        together = target_logits(model, both["input_ids"], both["positions"], plain_head)
        single = target_logits(model, alone["input_ids"], alone["positions"], plain_head)
    torch.testing.assert_close(together[: len(single)], single, rtol=1e-4, atol=1e-5)


def test_scaled_logits_are_noticed() -> None:
    model = tiny_llama()
    assert has_plain_head(model)
    forward = model.forward
    model.forward = lambda **inputs: _scaled(forward(**inputs))
    assert not has_plain_head(model)


def _scaled(output: Any) -> Any:
    output.logits = output.logits * 3
    return output


def test_training_lowers_the_validation_loss_and_saves_a_plain_model(tmp_path: Path) -> None:
    out = train(tmp_path / "sft", QUICK.model_copy(update={"learning_rate": 1e-2}), validation=EXAMPLES[:5])
    figures = sft_figures(out)
    assert figures["validation_loss"] < 0.8 * figures["validation_loss_before"]
    model, tokenizer = load_causal_lm(str(out))
    held_out = encode_examples(EXAMPLES[:5], tokenizer, PLAIN, 64, False)
    assert completion_loss(model, held_out, 256) == pytest.approx(figures["validation_loss"], rel=1e-4)
    assert not checkpoints_folder(out).exists()


def test_lora_is_merged_into_a_plain_model(tmp_path: Path) -> None:
    start = tiny_llama().state_dict()
    out = train(tmp_path / "sft", QUICK.model_copy(update={"learning_rate": 1e-2}), lora_rank=4)
    trained = AutoModelForCausalLM.from_pretrained(out).state_dict()
    assert trained.keys() == start.keys()
    assert not torch.equal(trained["model.layers.0.mlp.up_proj.weight"], start["model.layers.0.mlp.up_proj.weight"])
    assert torch.equal(trained["model.embed_tokens.weight"], start["model.embed_tokens.weight"])


def test_nothing_is_printed_to_standard_output(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train(tmp_path / "sft")
    assert capfd.readouterr() == ("", "")


# --- what it refuses --------------------------------------------------------------------------------------------


def test_overlong_example_is_refused_by_index(tmp_path: Path) -> None:
    examples = [*EXAMPLES[:3], ("x" * 100, "y")]
    with pytest.raises(DataError, match=r"example 3 has 103 tokens.*limit of 64"):
        train_sft(examples, tiny_llama(), byte_tokenizer(), QUICK, PLAIN, tmp_path / "sft", device="cpu")


def test_truncation_keeps_the_end_of_prompt_and_the_whole_program() -> None:
    tokenizer = byte_tokenizer()
    ((prompt, completion),) = encode_examples([("0123456789", "abc")], tokenizer, PLAIN, 8, True)
    assert tokenizer.decode(prompt) == "<bos>789"
    assert tokenizer.decode(completion) == "abc<eos>"


@pytest.mark.parametrize(("example", "message"), [(("p", " \n"), "empty completion"), (("", "x"), "empty prompt")])
def test_empty_texts_are_refused(example: tuple[str, str], message: str) -> None:
    with pytest.raises(DataError, match=f"example 1 has an {message}"):
        encode_examples([("p", "x"), example], byte_tokenizer(bos=False), PLAIN, 64, False)


def test_no_examples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no examples"):
        train_sft([], tiny_llama(), byte_tokenizer(), QUICK, PLAIN, tmp_path / "sft", device="cpu")


def test_a_diverging_loss_names_step_rate_and_remedy(tmp_path: Path) -> None:
    wild = QUICK.model_copy(update={"learning_rate": 1e30, "warmup_share": 0.0})
    with pytest.raises(TrainingError, match=r"loss became (nan|inf) at step \d+ of \d+ .*lower learning_rate"):
        train(tmp_path / "sft", wild)


# --- kills ------------------------------------------------------------------------------------------------------

KILLED_AT_13 = """
    import os, signal, sys
    sys.path.insert(0, sys.argv[1])
    from test_sft import *

    class KillsItself:
        def start(self, *a, **k): pass
        def finish(self, **k): pass
        def update(self, done, **k):
            if done == 13:
                os.kill(os.getpid(), signal.SIGKILL)

    torch.set_num_threads(1)
    train(Path(sys.argv[2]), model=tiny_gpt2(), progress=KillsItself())
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training with dropout that was killed (-9) after step 13, with checkpoints at steps 5 and 10."""
    out = tmp_path_factory.mktemp("killed") / "sft"
    script = [sys.executable, "-c", textwrap.dedent(KILLED_AT_13), str(Path(__file__).parent), str(out)]
    process = subprocess.run(script, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert process.returncode == -9, process.stderr
    assert not out.exists()
    return out


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return train(tmp_path_factory.mktemp("undisturbed") / "sft", model=tiny_gpt2())


@pytest.mark.parametrize("last_is_complete", [True, False])
def test_after_a_kill_the_weights_are_those_of_an_undisturbed_run(
    killed: Path, undisturbed: Path, tmp_path: Path, last_is_complete: bool
) -> None:
    out = tmp_path / "sft"
    shutil.copytree(checkpoints_folder(killed), checkpoints_folder(out))
    checkpoint = checkpoints_folder(out) / "checkpoint-10"
    if not last_is_complete:  # as if the kill had come while it was written
        (checkpoint / MARKER).unlink()
        (checkpoint / "model.safetensors").write_bytes(b"half")
    done: list[int] = []

    class Steps:
        def start(self, name: str, total: int, unit: str = "steps", done: int = 0) -> None:
            begun.append(done)

        def update(self, step: int, **_: Any) -> None:
            done.append(step)

        def finish(self, **_: Any) -> None: ...

    begun: list[int] = []
    train(out, model=tiny_gpt2(), progress=Steps())
    assert begun == [10 if last_is_complete else 5]
    assert done[0] == begun[0] + 1
    assert weights(out) == weights(undisturbed)
    assert (out / "training.json").read_text() == (undisturbed / "training.json").read_text()


def test_a_finished_training_is_not_repeated(undisturbed: Path) -> None:
    before = (undisturbed / "model.safetensors").stat().st_mtime_ns

    class Fails:
        def start(self, *_: Any, **__: Any) -> None:
            raise AssertionError("trained again")

        update = finish = start

    assert train(undisturbed, model=tiny_gpt2(), progress=Fails()) == undisturbed
    assert (undisturbed / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("change", ["options", "data", "weights"])
def test_another_training_does_not_pass_for_a_finished_one(undisturbed: Path, change: str) -> None:
    options = QUICK.model_copy(update={"seed": 1}) if change == "options" else QUICK
    examples = EXAMPLES[1:] if change == "data" else EXAMPLES
    model = tiny_llama() if change == "weights" else tiny_gpt2()
    with pytest.raises(RunDirectoryError, match="other data or with other options"):
        train_sft(examples, model, byte_tokenizer(), options, PLAIN, undisturbed, device="cpu")


def test_a_full_disk_is_named_and_the_training_goes_on_later(tmp_path: Path, undisturbed: Path) -> None:
    disk, small = tmp_path / "disk", "size=500k"  # the first checkpoint fits, the second does not
    disk.mkdir()
    script = f"""
    import sys
    sys.path.insert(0, {str(Path(__file__).parent)!r})
    from test_sft import *
    torch.set_num_threads(1)
    try:
        train(Path({str(disk / "sft")!r}), model=tiny_gpt2())
    except RunDirectoryError as error:
        print(error)
    os.system("mount -o remount,size=50m {disk}")
    train(Path({str(disk / "sft")!r}), model=tiny_gpt2())
    shutil.copytree({str(disk / "sft")!r}, {str(tmp_path / "copy")!r})
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs unshare and the right to use it")
    command = f"mount -t tmpfs -o {small} tmpfs {disk} && {sys.executable} {tmp_path}/script.py"
    process = subprocess.run(
        ["unshare", "-m", "sh", "-c", command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert "no space left" in process.stdout, process.stderr
    assert weights(tmp_path / "copy") == weights(undisturbed)
    assert json.loads((tmp_path / "copy/training.json").read_text())["figures"]["steps"] > 13
