"""`rewardranker serve` under load, beside its model server asked directly and beside optillm.

`python benchmarks/serving.py`

All on this machine, each in a process of its own: a fake model server that answers after `--latency-ms`, the servers
in front of it, and clients that ask again as soon as they are answered. For 1, 8, 64 and 256 clients: requests a
second, their latency, the CPU time of the server for each, and what it asked of the model server. Stretches of all
servers take turns, so that what else the machine does meets all of them. Then what becomes of requests while the model
server is killed and comes back, and while the server itself is asked to stop.

The reward model is random and small: it shows what scoring costs in the server, not what a large model costs.
optillm is installed into `--cache` (350 MB), with what its proxy imports and not with all that it declares (torch,
spacy, gradio and more: gigabytes). About four minutes on two idle cores after that. Prints Markdown and writes
`results/serving.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving_load import Load, run_for, run_while

from rewardranker.runs import write_json

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "serving.json"
CLIENTS = (1, 8, 64, 256)
BEST_OF = 8
MESSAGES = [{"role": "user", "content": "Write a Python function add(a, b) that returns the sum of two numbers."}]
OPTILLM = "optillm==0.4.0"
OPTILLM_NEEDS = (
    "aiohttp cerebras_cloud_sdk flask httpx math-verify networkx numpy openai PyYAML requests sympy z3-solver<=4.15.4.0"
)
START_SECONDS = 90.0


@dataclass(frozen=True)
class Served:
    """A process that answers on a port."""

    process: subprocess.Popen[bytes]
    port: int

    def cpu_seconds(self) -> float:
        """User and system time of all its threads so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Case:
    """One way to ask: a row of the table for each number of clients."""

    name: str
    served: Served
    body: dict[str, Any]
    is_proxy: bool = True
    most_clients: int = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency-ms", type=float, default=50.0, help="of the fake model server")
    parser.add_argument("--seconds", type=float, default=2.0, help="of one stretch")
    parser.add_argument("--rounds", type=int, default=2, help="stretches of each server and number of clients")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--reranker", help="another reward model than the random one")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "rewardranker-benchmarks")
    parser.add_argument("--without-optillm", action="store_true")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    python, problem = (None, "not asked for") if arguments.without_optillm else install_optillm(arguments.cache)
    found: dict[str, Any] = {"latency_ms": arguments.latency_ms, "seconds": arguments.seconds, "best_of": BEST_OF}
    found |= {"rounds": arguments.rounds, "optillm": problem or OPTILLM}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream = stack.enter_context(fake_upstream(arguments.latency_ms))
        reranker = arguments.reranker or str(small_reward_model(folder / "reward"))
        ours = stack.enter_context(rewardranker_serve(reranker, upstream.port))
        other = stack.enter_context(optillm_serve(python, upstream.port, folder)) if python else None
        cases = all_cases(upstream, ours, other)
        found["load"] = measure(cases, upstream, arguments)
    print(load_table(found["load"]))
    if problem:
        print(f"\noptillm is left out: {problem}.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reranker = arguments.reranker or str(small_reward_model(folder / "reward"))
        found["faults"] = [model_server_dies("rewardranker", reranker, None, arguments.latency_ms, folder)]
        if python:
            found["faults"].append(model_server_dies("optillm", reranker, python, arguments.latency_ms, folder))
        found["faults"].append(asked_to_stop(reranker, arguments.latency_ms))
    print("\n" + fault_table(found["faults"]))
    write_json(arguments.output, found)


# --- load -----------------------------------------------------------------------------------------------------------


def all_cases(upstream: Served, ours: Served, other: Served | None) -> list[Case]:
    def body(model: str, **more: Any) -> dict[str, Any]:
        return {"model": model, "messages": MESSAGES, **more}

    cases = [
        Case("model server alone", upstream, body("prose"), is_proxy=False),
        Case("rewardranker, 1 candidate, nothing to score", ours, body("prose", best_of=1)),
        Case(f"rewardranker, best of {BEST_OF}, scored", ours, body("code", best_of=BEST_OF)),
    ]
    if other is not None:
        cases.append(Case("optillm, 1 candidate (`none`)", other, body("none-prose"), most_clients=64))
        cases.append(Case(f"optillm, best of {BEST_OF} (`bon`)", other, body("bon-code")))
    return cases


def measure(cases: list[Case], upstream: Served, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    for case in cases:
        warm_up(case.served.port, case.body)
    rows = []
    for clients in arguments.clients:
        asked = [case for case in cases if clients <= case.most_clients]
        stretches: dict[str, list[dict[str, Any]]] = {case.name: [] for case in asked}
        for number in range(arguments.rounds):
            for case in asked if number % 2 == 0 else reversed(asked):
                stretches[case.name].append(stretch(case, clients, upstream, arguments.seconds))
        rows += [joined(case, clients, stretches[case.name]) for case in asked]
        print(f"{clients} clients measured", file=sys.stderr)
    return rows


def warm_up(port: int, body: dict[str, Any]) -> None:
    """The first requests load what is loaded on demand."""
    run_for(port, body, 2, 0.5)


def stretch(case: Case, clients: int, upstream: Served, seconds: float) -> dict[str, Any]:
    asked, cpu = stats(upstream)["answers"], case.served.cpu_seconds()
    load = run_for(case.served.port, case.body, clients, seconds)
    cpu = case.served.cpu_seconds() - cpu
    return {"load": load, "cpu": cpu, "asked": stats(upstream)["answers"] - asked}


def joined(case: Case, clients: int, parts: list[dict[str, Any]]) -> dict[str, Any]:
    loads: list[Load] = [part["load"] for part in parts]
    latencies = sorted(1000 * value for load in loads for value in load.latencies())
    requests = sum(sum(load.statuses.values()) for load in loads)
    row: dict[str, Any] = {"name": case.name, "clients": clients, "requests": requests}
    row["answered"] = sum(len(load.answered) for load in loads)
    row["measured"] = len(latencies)
    rates = [len(load.latencies()) / (load.window[1] - load.window[0]) for load in loads if load.window]
    row |= {"per_second": sum(rates) / len(rates), "per_second_of_rounds": rates}
    for percent in (50, 95, 99):
        row[f"p{percent}_ms"] = quantile(latencies, percent / 100)
    row["asked_upstream"] = sum(part["asked"] for part in parts) / max(requests, 1)
    if case.is_proxy:
        row["cpu_ms"] = 1000 * sum(part["cpu"] for part in parts) / max(requests, 1)
    return row


def quantile(values: list[float], share: float) -> float | None:
    return values[min(int(share * len(values)), len(values) - 1)] if values else None


def load_table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| | clients | requests/s | p50 ms | p95 ms | p99 ms | server's CPU ms a request | asked of the model server |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: [other["name"] for other in rows].index(row["name"])):
        times = " | ".join("" if row[key] is None else f"{row[key]:.0f}" for key in ("p50_ms", "p95_ms", "p99_ms"))
        cpu = f"{row['cpu_ms']:.1f}" if "cpu_ms" in row else ""
        lost = row["requests"] - row["answered"]
        rate = f"{row['per_second']:.0f}" + (f" ({lost} of {row['requests']} failed)" if lost else "")
        lines.append(f"| {row['name']} | {row['clients']} | {rate} | {times} | {cpu} | {row['asked_upstream']:.1f} |")
    return "\n".join(lines)


# --- faults ---------------------------------------------------------------------------------------------------------

FAULT_CLIENTS = 64


def model_server_dies(name: str, reranker: str, python: Path | None, latency_ms: float, folder: Path) -> dict[str, Any]:
    """64 clients; the model server is killed after a second, is away for a second, and comes back for two."""
    with ExitStack() as stack:
        port = stack.enter_context(fake_upstream(latency_ms)).port
        first = stack.pop_all()
        proxy = optillm_serve(python, port, folder) if python else rewardranker_serve(reranker, port)
        served = stack.enter_context(proxy)
        body = {"model": "bon-code" if python else "code", "messages": MESSAGES}
        if not python:
            body["best_of"] = BEST_OF

        async def events() -> None:
            await asyncio.sleep(1.0)
            await asyncio.to_thread(first.close)
            await asyncio.sleep(1.0)
            await asyncio.to_thread(stack.enter_context, fake_upstream(latency_ms, port))
            await asyncio.sleep(2.0)

        warm_up(served.port, body)
        load = run_while(served.port, body, FAULT_CLIENTS, events)
    counts = dict(load.statuses)
    return {"name": f"{name}: the model server is killed and comes back", "statuses": counts, "refused": load.refused}


def asked_to_stop(reranker: str, latency_ms: float) -> dict[str, Any]:
    """64 clients; SIGTERM after a second. What was sent before it is to be answered."""
    stopped_at = ended_at = float("inf")
    with ExitStack() as stack:
        upstream = stack.enter_context(fake_upstream(latency_ms))
        served = stack.enter_context(rewardranker_serve(reranker, upstream.port))

        async def events() -> None:
            nonlocal stopped_at, ended_at
            await asyncio.sleep(1.0)
            stopped_at = time.monotonic()
            served.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(served.process.wait, 60)
            ended_at = time.monotonic()

        body = {"model": "code", "messages": MESSAGES}
        warm_up(served.port, body)
        load = run_while(served.port, body, FAULT_CLIENTS, events)
        status = served.process.returncode
    lost = sum(1 for sent in load.lost_at if sent < stopped_at)
    counts = dict(load.statuses) | {"lost": lost}
    return {
        "name": "rewardranker: asked to stop",
        "statuses": counts,
        "sent_to_a_closing_connection": len(load.lost_at) - lost,
        "refused": load.refused,
        "seconds_to_end": ended_at - stopped_at,
        "exit_status": status,
    }


def fault_table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| 64 clients | answered | failed | lost | sent after the stop, not answered |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        statuses = dict(row["statuses"])
        answered, lost = statuses.pop("200", 0), statuses.pop("lost", 0)
        failed = ", ".join(f"{count} with {status}" for status, count in sorted(statuses.items())) or "0"
        late = row.get("sent_to_a_closing_connection", "")
        lines.append(f"| {row['name']} | {answered} | {failed} | {lost} | {late} |")
    return "\n".join(lines)


# --- processes ------------------------------------------------------------------------------------------------------


@contextmanager
def fake_upstream(latency_ms: float, port: int = 0) -> Iterator[Served]:
    command = [sys.executable, str(HERE / "serving_upstream.py"), str(port), str(latency_ms)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        told = process.stdout.readline().decode().strip()
        if not told:
            raise SystemExit("the fake model server did not start")
        yield Served(process, int(told))
    finally:
        end(process)


@contextmanager
def rewardranker_serve(reranker: str, upstream_port: int) -> Iterator[Served]:
    port = free_port()
    command = [sys.executable, "-m", "rewardranker", "serve", "--reranker", reranker, "--port", str(port)]
    command += ["--upstream", f"http://127.0.0.1:{upstream_port}/v1", "--best-of", str(BEST_OF)]
    with running(command, port, "/health/ready", {}) as served:
        yield served


@contextmanager
def optillm_serve(python: Path, upstream_port: int, folder: Path) -> Iterator[Served]:
    """optillm's proxy, as it is started by its own command, with as little logging as it offers."""
    port = free_port()
    command = [str(python.with_name("optillm")), "--port", str(port), "--best-of-n", str(BEST_OF)]
    command += ["--base-url", f"http://127.0.0.1:{upstream_port}/v1", "--log", "critical"]
    with running(command, port, "/health", {"OPENAI_API_KEY": "none", "HOME": str(folder)}) as served:
        yield served


@contextmanager
def running(command: list[str], port: int, path: str, environment: dict[str, str]) -> Iterator[Served]:
    """A server, once it is ready."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | environment)
        try:
            end_of_patience = time.monotonic() + START_SECONDS
            while not answers(f"http://127.0.0.1:{port}{path}"):
                if process.poll() is not None or time.monotonic() > end_of_patience:
                    log.seek(0)
                    raise SystemExit(f"{command[0]} did not start:\n{log.read().decode()[-2000:]}")
                time.sleep(0.1)
            yield Served(process, port)
        finally:
            end(process)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def stats(upstream: Served) -> dict[str, int]:
    with urllib.request.urlopen(f"http://127.0.0.1:{upstream.port}/stats", timeout=30) as response:
        return dict(json.load(response))


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


# --- what is served -------------------------------------------------------------------------------------------------


def small_reward_model(folder: Path) -> Path:
    """Two layers of width 64, random weights, saved as any reward model is."""
    from rewardranker.config import ScratchModel
    from rewardranker.models import new_llama
    from rewardranker.reward import RewardRanker
    from rewardranker.reward.model import RewardSettings, from_causal_lm
    from rewardranker.tokenization import train_tokenizer

    tokenizer = train_tokenizer(["def add(a, b):\n    total = a + b\n    return total\n", MESSAGES[0]["content"]], 400)
    size = ScratchModel(hidden_size=64, layers=2, heads=2, intermediate_size=128, max_positions=1024)
    model = from_causal_lm(new_llama(size, tokenizer, seed=0), tokenizer, seed=0)
    RewardRanker(model, tokenizer, RewardSettings(max_length=1024)).save_pretrained(folder)
    return folder


def install_optillm(cache: Path) -> tuple[Path | None, str]:
    """The interpreter of an environment that has optillm, or why there is none."""
    folder = cache / OPTILLM.replace("==", "-")
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    if not can_import_optillm(python):
        for packages in (["--no-deps", OPTILLM], OPTILLM_NEEDS.split()):
            done = subprocess.run(
                [python, "-m", "pip", "install", "--quiet", *packages], capture_output=True, text=True, check=False
            )
            if done.returncode:
                return None, f"pip install {' '.join(packages)} failed ({done.stderr.strip().splitlines()[-1]})"
    if not can_import_optillm(python):
        return None, "it is installed, but can't be imported"
    return python, ""


def can_import_optillm(python: Path) -> bool:
    command = [python, "-c", "import optillm.server"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    main()
