"""What Java and Scala share: servers' classes compiled once, and archives of classes that programs' JVMs start from.

Not guaranteed: that a JVM takes an archive; one that can't (another JVM version, changed libraries) starts without, as
slowly as ever, and says nothing.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import zipfile
from collections.abc import Iterable
from pathlib import Path

from rewardranker.errors import SandboxError

SERVERS = Path(__file__).parents[1] / "sandbox" / "servers"
QUIET = ("-XX:ActiveProcessorCount=1", "-XX:-UsePerfData")
SERVER_FLAGS = (*QUIET, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xss1m")
"""A server is warm after tens of programs with the quick compiler alone; the optimizing one takes thousands."""
COLLECTOR = "-XX:+UseG1GC"
"""Only with this collector does a JVM 17 take the objects of an archive, which are a third of its start."""
_ARCHIVE = "classes.jsa"
_SECONDS = 300.0


def digest(*paths: str | Path) -> str:
    """Of the content of our own small files, and of the size and time of others'."""
    parts = []
    for path in map(Path, paths):
        found = path.stat()
        parts.append(
            path.read_bytes() if path.parent == SERVERS else f"{path}:{found.st_size}:{found.st_mtime_ns}".encode()
        )
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def run_flags(archive: Path | None, memory_mb: int) -> list[str]:
    """Flags of the JVM that runs a program."""
    flags = ["-Xms32m", *QUIET, f"-Xmx{memory_mb}m"]
    if archive is None:
        return [*flags, "-XX:+UseSerialGC"]
    # The archive is taken at the address it was made for, as moving it costs a quarter of the start.
    fixed = ["-XX:+UnlockDiagnosticVMOptions", "-XX:ArchiveRelocationMode=0", f"-XX:SharedArchiveFile={archive}"]
    return [*flags, COLLECTOR, *fixed, "-Xshare:auto", "-Xlog:cds*=off,class+path=off"]


def make_archive(
    java: str, folder: Path, memory_mb: int, class_path: str, training: list[str], jars: Iterable[str] = ()
) -> None:
    """Archive the classes that a training run loads and those that a JVM archives by default.

    Leaves nothing where the JVM can't make archives.

    Args:
        class_path: the libraries before a program's own classes; the archive holds for just these.
        training: class path and main class of the training run, as words of a command line.
        jars: libraries of which all classes are archived.
    """
    names = folder / "classes.list"
    subprocess.run(
        [java, f"-XX:DumpLoadedClassList={names}", "-Xshare:auto", *training], capture_output=True, timeout=_SECONDS
    )
    if not names.exists():
        return
    lines = [
        line
        for path in (Path(java).parents[1] / "lib" / "classlist", names)
        if path.exists()
        for line in path.read_text().splitlines()
    ]
    lines += [
        name.removesuffix(".class")
        for jar in jars
        for name in zipfile.ZipFile(jar).namelist()
        if name.endswith(".class")
    ]
    kept = [
        line
        for line in dict.fromkeys(lines)
        if "CommonClasses" not in line and not line.startswith("#") and "module-info" not in line
    ]
    names.write_text("\n".join(kept) + "\n")
    made = folder / _ARCHIVE
    flags = [COLLECTOR, f"-Xmx{memory_mb}m", f"-XX:SharedClassListFile={names}", f"-XX:SharedArchiveFile={made}"]
    done = subprocess.run([java, "-Xshare:dump", *flags, "-cp", class_path], capture_output=True, timeout=_SECONDS)
    if done.returncode != 0:
        made.unlink(missing_ok=True)


def archive_in(folder: Path) -> Path | None:
    """The archive that `make_archive` made in a folder."""
    return folder / _ARCHIVE if (folder / _ARCHIVE).exists() else None


def compile_java(javac: str, folder: Path, *sources: str, class_path: str = "") -> None:
    """Compile files of ours into a folder.

    Raises:
        SandboxError: javac refuses them.
    """
    command = [javac, "-encoding", "UTF-8", "-d", str(folder), "-cp", class_path or str(folder)]
    done = subprocess.run(
        [*command, *(str(SERVERS / name) for name in sources)], capture_output=True, text=True, timeout=_SECONDS
    )
    if done.returncode != 0:
        raise SandboxError(
            f"{javac} can't compile the judge's own {', '.join(sources)}: {(done.stdout + done.stderr)[-500:]}"
        )


def real(program: str) -> str:
    """An executable without the links to it: they are not the same inside and outside a sandbox."""
    return os.path.realpath(program)
