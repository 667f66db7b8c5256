"""Inside the sandbox of `contained.py`: sets a scene, has a naive judge run one attack, says what came of it.

This process is the first of its process id namespace: no signal of a program can reach it.

Input (standard input, JSON): the attack's fields that matter, `limit` and `patience` in seconds, `uid` or null.
Output (JSON): `passed`, `detail` (its start), `found` (what harm the probe saw, or empty).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from attacks import naive
from attacks.scene import Scene

_LIMITS = {
    resource.RLIMIT_NPROC: 1000,
    resource.RLIMIT_CPU: 20,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_NOFILE: 4096,
}
_LATE = 0.25
"""Seconds after its limit at which a judge is late."""
_DETAIL = 200_000
"""Characters of what a naive judge says that are handed on: enough to see that it does not cut it."""
_MOMENT = 0.5
"""Seconds that what was started has for its harm."""
_OUTCOME = Path("/run/outcome")
_PR_SET_DUMPABLE = 4


def main() -> None:
    order = json.loads(sys.stdin.read())
    for limit, value in _LIMITS.items():
        resource.setrlimit(limit, (value, value))
    if order["address_space"]:
        resource.setrlimit(resource.RLIMIT_AS, (order["address_space"], order["address_space"]))
    if order["uid"] is not None:
        os.setgroups([])
        os.setresgid(order["uid"], order["uid"], order["uid"])
        os.setresuid(order["uid"], order["uid"], order["uid"])
        # A change of user hides /proc/1 from that user; a naive judge has not changed its own.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    assert os.getpid() == 1, "attacks are only run in a process id namespace of their own"
    assert os.getuid() != 0 or order["uid"] is None
    if not order["harm"]:
        print(json.dumps(_run(None, order)), flush=True)
        return
    package = Path("/tmp/package")
    package.mkdir()
    with Scene(package) as scene:
        # The secret is also where users keep theirs: in the environment of the judge.
        os.environ["ATTACK_SECRET"] = scene.secret
        print(json.dumps(_run(scene, order)), flush=True)


def _run(scene: Scene | None, order: dict[str, Any]) -> dict[str, Any]:
    judge = _start_judge(scene, order)
    deadline = time.monotonic() + order["patience"]
    dead = False
    while not _OUTCOME.exists() and time.monotonic() < deadline and not dead:
        dead = _has_ended(judge)
        time.sleep(0.005)
    outcome: dict[str, Any] = {"passed": False, "detail": "", "seconds": order["patience"], "honest": False}
    with contextlib.suppress(OSError):
        outcome = json.loads(_OUTCOME.read_text())
    harm, found = order["harm"], ""
    if harm == "late":
        late = outcome["seconds"] > order["limit"] + _LATE
        found = f"it took {outcome['seconds']:.1f} s, the limit is {order['limit']} s" if late else ""
    elif harm == "judge":
        found = "the judge was ended" if dead else "" if outcome["honest"] else "the judge fails the next program too"
    elif harm == "solved":
        found = "it got what it wants and has passed" if outcome["passed"] else ""
    elif scene is not None:
        end = time.monotonic() + _MOMENT
        while not found and time.monotonic() < end:
            found = scene.find(harm, outcome["detail"])
            time.sleep(0.01)
    return {"passed": outcome["passed"], "detail": outcome["detail"][-300:], "found": found}


def _start_judge(scene: Scene | None, order: dict[str, Any]) -> int:
    """Fork the judge, which then stays alive so that its memory can be looked at."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    with contextlib.suppress(BaseException):
        program = scene.render(order["program"]) if scene is not None else order["program"]
        outcome = _judge(order, program, order["tests"])
        honest = _judge(order, order["honest"], order["tests"]) if order["harm"] == "judge" else outcome
        text = json.dumps({**vars(outcome), "detail": outcome.detail[-_DETAIL:], "honest": honest.passed})
        _OUTCOME.with_suffix(".new").write_text(text)
        _OUTCOME.with_suffix(".new").rename(_OUTCOME)
    while True:
        time.sleep(1)


def _judge(order: dict[str, Any], program: str, tests: str) -> naive.Outcome:
    if order["naive"] == "exit_status":
        return naive.exit_status(program, tests, order["limit"], order["language"], order["stdin"])
    return naive.JUDGES[order["naive"]](program, tests, order["limit"])  # type: ignore[no-any-return]


def _has_ended(pid: int) -> bool:
    """Whether the judge is dead; reaps the orphans that become this process's children."""
    while True:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if ended in (0, pid):
            return ended == pid


if __name__ == "__main__":
    main()
