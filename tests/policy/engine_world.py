"""PPO on `ppo_world` with engines that are given the policy's weights: real vLLM, and stand-ins with real models.

Run as a script it trains with vLLM in a folder, as one process or as one of a launch: FOLDER '{"lora_rank": 4, ...}'.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import ppo_world
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from rewardranker.config import PromptOptions, Recipe, SamplingOptions
from rewardranker.generation import TransformersSampler
from rewardranker.rollouts import Rollouts
from rewardranker.types import Task

VLLM = {"max_model_len": 32, "gpu_memory_utilization": 0.05, "engine": {"enforce_eager": True, "max_num_seqs": 16}}
TASKS = ppo_world.new_tasks(12)


def new_model(seed=0):
    """Heads of 32, which vLLM has kernels for; the output embedding is the input one."""
    tokens = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "vocab_size": len(ppo_world.new_tokenizer())}
    config = LlamaConfig(
        **tokens,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=128,
        max_position_embeddings=64,
        initializer_range=0.15,
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    return LlamaForCausalLM(config).eval()


def recipe(rollouts, vllm=None, **changes):
    return Recipe(ppo=ppo_world.options(rollouts=rollouts, vllm=vllm or {}, **{"learning_rate": 1e-2, **changes}))


def train(folder, recipe, rollouts=None, **more):
    """PPO as the recipe draws, and the policy that it ended with."""
    torch.set_num_threads(1)
    model, tokenizer = new_model(), ppo_world.new_tokenizer()
    wrap = more.pop("wrap", lambda rollout: rollout)
    with (rollouts or Rollouts(recipe)).of_round(recipe, tokenizer, 1) as rollout:
        result = ppo_world.run(folder, recipe.ppo, model=model, reference=new_model(), rollout=wrap(rollout), **more)
    return result, model


def greedy(engine, model, seed=0):
    """Tokens and log-probabilities of what an engine writes at temperature 0 with the model's weights."""
    sampling = SamplingOptions(temperature=0, max_new_tokens=6, seed=seed)
    groups = engine.draw(model, ppo_world.new_tokenizer(), TASKS, 1, sampling, 1)
    return [(list(group[0].token_ids), list(group[0].token_logprobs)) for group in groups]


class FakeVLLM:
    """What `PolicyEngine` asks of `VLLMSampler`, done by transformers on a model of its own."""

    made = closed = 0

    def __init__(self, folder, options, prompt, name, *, dtype, engine):
        FakeVLLM.made += 1
        assert engine["load_format"] == "dummy"
        assert sorted(path.suffix for path in Path(folder).iterdir()).count(".safetensors") == 0
        torch.manual_seed(99)
        config = AutoConfig.from_pretrained(folder)
        assert config.architectures == ["LlamaForCausalLM"]
        self._model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).eval()
        self.options, self.name, self._prompt = options, name, prompt

    def load_weights(self, named):
        weights = dict(named)
        assert all(weight.requires_grad is False for weight in weights.values())
        self._model.load_state_dict(weights)  # refuses missing and unknown names

    def close(self):
        FakeVLLM.closed += 1

    def sample(self, tasks, n, *, round):
        sampler = TransformersSampler(self._model, ppo_world.new_tokenizer(), self.options, self._prompt, self.name)
        return sampler.sample(tasks, n, round=round)


class FakeServer:
    """A vLLM server, as far as PPO asks one, on a model of its own; `with FakeServer() as server`."""

    def __init__(self, dev_mode=True, busy=False):
        self.model, self.dev_mode, self.busy, self.paths = new_model(7), dev_mode, busy, []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self._answer({"data": [{"id": "policy", "owned_by": "vllm"}]})

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                server.paths.append(self.path)
                if self.path == "/v1/completions":
                    return self._answer({"choices": server.complete(body)})
                if self.path == "/reset_prefix_cache" and server.dev_mode:
                    return self._answer({"success": not server.busy})
                if self.path == "/collective_rpc" and server.dev_mode and body["method"] == "reload_weights":
                    server.model.load_state_dict(load_file(Path(body["kwargs"]["weights_path"]) / "model.safetensors"))
                    return self._answer({"results": [None]})
                return self._answer({"detail": "Not Found"}, 404)

            def _answer(self, answer, status=200):
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def complete(self, body):
        """Choices for a prompt of token ids."""
        tokenizer = ppo_world.new_tokenizer()
        assert body["prompt"][0] == tokenizer.bos_token_id
        task = Task("t", " ".join(tokenizer.convert_ids_to_tokens(body["prompt"][1:])))
        options = SamplingOptions(
            temperature=body["temperature"], max_new_tokens=body["max_tokens"], seed=body["seed"] % 2**20
        )
        sampler = TransformersSampler(self.model, tokenizer, options, PromptOptions(), "policy")
        return [
            {
                "index": number,
                "text": sample.text,
                "finish_reason": sample.finish_reason,
                "token_ids": sample.token_ids,
                "logprobs": {
                    "tokens": [str(token) for token in sample.token_ids],
                    "token_logprobs": sample.token_logprobs,
                },
            }
            for number, sample in enumerate(next(sampler.sample([task], body.get("n", 1))))
        ]


def killed_at(call):
    """A wrapper of rollouts that kills this process (SIGKILL) when it is drawn from for the n-th time."""
    calls = 0

    def wrap(rollout):
        def draw(*arguments, **named):
            nonlocal calls
            calls += 1
            if calls == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return rollout(*arguments, **named)

        return draw

    return wrap


def main(folder, given):
    from rewardranker import processes

    if processes.world_size() > 1:
        processes.join("cpu")
    lora, call = given.pop("lora_rank", 0), given.pop("killed_at", None)
    chosen = recipe(given.pop("rollouts", "vllm"), {**VLLM, **given.pop("vllm", {})}, **given)
    rollouts = Rollouts(chosen)
    rollouts.check()
    _, model = train(folder, chosen, rollouts, lora_rank=lora, **({"wrap": killed_at(call)} if call else {}))
    theirs = greedy(rollouts._engine, model)
    if processes.is_main():
        ours = greedy(Rollouts(recipe("transformers"))._engine, model)
        (folder / "greedy.json").write_text(json.dumps({"ours": ours, "theirs": theirs}))
        torch.save(model.state_dict(), folder / "last.pt")
    processes.barrier()
    os._exit(0)  # vLLM's threads do not end by themselves


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
