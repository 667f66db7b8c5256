"""Java: a compiler that stays warm, two virtual machines that run what does nothing but compute, and others that start
from an archive of the usual classes for all other programs.

Runs differ from the table's row in the collector (G1 for serial, which starts faster from an archive), in the order of
the class path (libraries first: an archive holds for the path's beginning), and in nothing that a program decides by.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rewardranker.execution.accelerators import jvm
from rewardranker.execution.languages import Toolchain
from rewardranker.execution.prepared import prepared

_SOURCES = (
    "CompileServer.java",
    "JavaCompiler.java",
    "ClassFile.java",
    "PureClasses.java",
    "PureMembers.java",
    "JavaRunner.java",
    "CommonClasses.java",
)
_TRAINING = "rewardranker.CommonClasses"
"""What a machine runs before it is archived."""
_HEAP_MB = 256
_RUNNER_HEAP_MB = 256
"""At most; a program that needs more runs in a machine of its own."""
_RUNNER_FLAGS = (
    # What two equal objects of different programs look like must not tell what ran before.
    *("-XX:+UnlockExperimentalVMOptions", "-XX:hashCode=2", "-XX:-OmitStackTraceInFastThrow"),
    # Out of memory ends it, whoever catches that.
    *("-XX:+ExitOnOutOfMemoryError", "-XX:MaxMetaspaceSize=128m", "-Xms16m"),
)
_RUNNER_REQUESTS = 4000


def accelerate(found: Toolchain, memory_mb: int) -> dict[str, Any]:
    """Overrides of the worker's toolchain fields.

    Raises:
        SandboxError: the server can't be compiled, or the cache folder can't be written.
    """
    java = jvm.real(found.programs["java"])
    tuples = found.libraries.get("javatuples", "")
    libraries = [tuples] if tuples else []
    # The archive depends on the heap's size, through the width of the pointers in its objects.
    key = [
        found.version,
        jvm.digest(java, __file__, jvm.__file__, *libraries, *(jvm.SERVERS / name for name in _SOURCES)),
        str(memory_mb),
    ]

    def build(folder: Path) -> None:
        jvm.compile_java(found.programs["javac"], folder, *_SOURCES)
        jvm.make_archive(java, folder, memory_mb, tuples, ["-ea", "-cp", str(folder), _TRAINING], libraries)

    folder = prepared("java", key, build)
    heap = min(memory_mb, _RUNNER_HEAP_MB)
    pure_path = ":".join([str(folder), *libraries])
    run = [java, *jvm.run_flags(jvm.archive_in(folder), memory_mb)]
    return {
        "run": [*run, "-ea", "-cp", ":".join([*libraries, "."]), "{main}"],
        "server": {
            "argv": [java, *jvm.SERVER_FLAGS, f"-Xmx{_HEAP_MB}m", "-cp", str(folder), "JavaCompiler", tuples],
            "environment": {},
            "memory_mb": _HEAP_MB + 512,
            "requests": 5000,
        },
        "pure_server": {
            "argv": [java, *jvm.SERVER_FLAGS, *_RUNNER_FLAGS, f"-Xmx{heap}m", "-cp", pure_path, "JavaRunner"],
            "environment": {},
            "memory_mb": heap + 512,
            "requests": _RUNNER_REQUESTS,
            "greets": True,
        },
    }
