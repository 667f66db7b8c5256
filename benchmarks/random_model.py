"""A model of a known size with random weights, as a folder: what a step takes does not depend on what was learned.

    python benchmarks/random_model.py --size 1.3b --dtype bfloat16 --output runs/models/1.3b

`135m` has the shape of SmolLM2-135M (tied embeddings, grouped queries), `1.3b` that of DeepSeek-Coder-1.3B, `tiny` is
for trying things out. The tokenizer is a small one, trained on the synthetic tasks: the model's vocabulary is larger,
as its head's cost counts. Not for anything about quality. Needs no download.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rewardranker.models import choose_device
from rewardranker.tasks import load_tasks
from rewardranker.tokenization import train_tokenizer

SIZES = {
    "tiny": {"hidden": 64, "layers": 2, "heads": 4, "kv_heads": 2, "ff": 128, "vocabulary": 640, "tied": True},
    "135m": {"hidden": 576, "layers": 30, "heads": 9, "kv_heads": 3, "ff": 1536, "vocabulary": 49152, "tied": True},
    "1.3b": {"hidden": 2048, "layers": 24, "heads": 16, "kv_heads": 16, "ff": 5504, "vocabulary": 32256, "tied": False},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(SIZES), required=True)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--device", default="auto", help="where the weights are drawn")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    if options.output.exists():
        return
    size = SIZES[options.size]
    tokenizer = train_tokenizer([task.prompt for task in load_tasks("synthetic:train", 500, 0)], 600)
    torch.manual_seed(0)
    with torch.device(choose_device(options.device)):
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=size["vocabulary"],
                hidden_size=size["hidden"],
                num_hidden_layers=size["layers"],
                num_attention_heads=size["heads"],
                num_key_value_heads=size["kv_heads"],
                intermediate_size=size["ff"],
                tie_word_embeddings=size["tied"],
                max_position_embeddings=4096,
                bos_token_id=None,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        )
    model.to(getattr(torch, options.dtype))
    new = options.output.with_name(f"{options.output.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    model.save_pretrained(new)
    tokenizer.save_pretrained(new)
    new.rename(options.output)
    print(f"{options.output}: {sum(p.numel() for p in model.parameters()) / 1e6:,.1f} million parameters")


if __name__ == "__main__":
    main()
