"""Scala: a compiler that stays warm, and programs run by `java` itself, from an archive of the usual classes.

The `scala` command starts a runner that loads the program by reflection; here the program's object is started
directly, with the same libraries on the class path. Exit status and what decides a program are the
same; only the lines of a stack trace beyond the program's own are not.

Not guaranteed: Scala 3, whose compiler is another one, is not made faster; its programs run by the table's row.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from rewardranker.errors import SandboxError
from rewardranker.execution.accelerators import jvm
from rewardranker.execution.languages import Toolchain
from rewardranker.execution.prepared import prepared

_SOURCES = ("CompileServer.java", "ScalaCompiler.java")
_TRAINING = "CommonClasses.scala"
_HEAP_MB = 512
_REQUESTS = 1000


def accelerate(found: Toolchain, memory_mb: int) -> dict[str, Any]:
    """Overrides of the worker's toolchain fields; none for a Scala that is not laid out as version 2 is.

    Raises:
        SandboxError: the server can't be compiled, or the cache folder can't be written.
    """
    java, scalac = jvm.real(found.programs["java"]), jvm.real(found.programs["scalac"])
    javac = Path(java).with_name("javac")
    lib = Path(scalac).parents[1] / "lib"
    if not javac.exists() or not (lib / "scala-compiler.jar").exists():
        return {}
    jars = [jvm.real(str(path)) for path in sorted(lib.glob("*.jar"))]
    path = ":".join(jars)
    sources = (*_SOURCES, _TRAINING)
    key = [
        found.version,
        jvm.digest(java, __file__, jvm.__file__, *jars, *(jvm.SERVERS / name for name in sources)),
        str(memory_mb),
    ]

    def build(folder: Path) -> None:
        jvm.compile_java(str(javac), folder, *_SOURCES, class_path=path)
        _compile_training(scalac, folder)
        jvm.make_archive(java, folder, memory_mb, path, ["-cp", f"{path}:{folder}", "CommonClasses"])

    folder = prepared("scala", key, build)
    flags = [*jvm.SERVER_FLAGS, f"-Xmx{_HEAP_MB}m", "-cp", f"{folder}:{path}"]
    return {
        "run": [java, *jvm.run_flags(jvm.archive_in(folder), memory_mb), "-cp", f"{path}:.", "{main}"],
        "server": {
            "argv": [java, *flags, "ScalaCompiler", path],
            "environment": {},
            "memory_mb": _HEAP_MB + 512,
            "requests": _REQUESTS,
        },
    }


def _compile_training(scalac: str, folder: Path) -> None:
    command = [scalac, "-d", str(folder), str(jvm.SERVERS / _TRAINING)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300.0)
    if done.returncode != 0:
        raise SandboxError(f"{scalac} can't compile the judge's own {_TRAINING}: {(done.stdout + done.stderr)[-500:]}")
