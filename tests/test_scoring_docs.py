"""The Python of docs/scoring.md prints what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

PAGE = Path(__file__).parents[1] / "docs" / "scoring.md"


def test_the_example_prints_what_its_comments_say(capsys: pytest.CaptureFixture[str]) -> None:
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    exec(code, {"model": LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes)).eval()})
    shapes, tokens = capsys.readouterr().out.splitlines()
    assert f"# {shapes}:" in code
    assert f"# {tokens} tokens are read instead of 13" in code
