"""C++: one clang that has read the standard headers is copied for each program; mold links; g++ has the last word.

Prepared once: a precompiled header that has the usual templates instantiated (`sandbox/servers/warm.py` writes it), a
shared library with the code of all that is in it, so that programs need not compile it again, and the commands that the
server (`sandbox/servers/cpp_compiler.py`) executes. A compile error is believed when g++ reports it: the table's way is
asked for all that the server can't do.

Not guaranteed: that a program behaves with clang as with g++ where the language leaves it open (the order in which
arguments are evaluated, values of variables never set), nor that g++ accepts all that clang accepts.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rewardranker.execution import bubblewrap
from rewardranker.execution.accelerators import cpp_header
from rewardranker.execution.languages import SYSTEM_PATH, Toolchain
from rewardranker.execution.prepared import prepared

_SERVERS = Path(__file__).parents[1] / "sandbox" / "servers"
_SERVER = _SERVERS / "cpp_compiler.py"
_SNAPSHOT = _SERVERS / "snapshot.c"
_LANGUAGE = ("-std=c++17", "-fPIC", "-fno-strict-return", "-w")
_LIBRARY = "librewardranker_std.so"
_UNUSABLE = "unusable"
_SECONDS = 300.0
_MEMORY_MB = 2048
_REQUESTS = 2000
_TRIAL = b"""#include <bits/stdc++.h>
int main() { std::vector<std::string> v{"b", "a"}; std::sort(v.begin(), v.end()); return v[0] == "a" ? 0 : 1; }
"""


def accelerate(found: Toolchain, memory_mb: int) -> dict[str, Any]:
    """Overrides of the worker's toolchain fields; none where clang++ or mold is missing, or can't do it.

    Raises:
        SandboxError: the cache folder can't be written.
    """
    del memory_mb
    tools = {name: shutil.which(name, path=SYSTEM_PATH) for name in ("clang++", "mold", "gcc")}
    python = next((path for path in ("/usr/bin/python3", bubblewrap.interpreter()) if _open_to_all(path)), None)
    if None in tools.values() or python is None or not Path(found.programs["g++"]).resolve().name.count("g++"):
        return {}
    paths = {name: path for name, path in tools.items() if path}
    versions = [_output([path, "--version"]).splitlines()[0] for path in paths.values()]
    ours = [path.read_bytes() for path in (_SERVER, _SNAPSHOT, Path(__file__), Path(cpp_header.__file__))]
    libraries = [_file(paths["clang++"], name) for name in ("libstdc++.so", "libc.so.6", "libm.so.6")]
    key = [found.version, *versions, hashlib.sha256(b"\0".join(ours)).hexdigest(), python]
    key += [f"{path}:{os.stat(path).st_size}:{os.stat(path).st_mtime_ns}" for path in libraries]
    folder = prepared("cpp", key, lambda folder: _build(folder, paths, python))
    if (folder / _UNUSABLE).exists():
        return {}
    return {
        "run": _run_command(folder, json.loads((folder / "commands.json").read_text())["loader"]),
        "server": {
            "argv": [python, "-I", "-S", "-B", str(folder / _SERVER.name), str(folder)],
            "environment": {},
            "memory_mb": _MEMORY_MB,
            "requests": _REQUESTS,
        },
    }


def _run_command(folder: Path, loader: str) -> list[str]:
    """What the server made has no permission to be executed, and needs the prepared library."""
    return [loader, "--library-path", str(folder), "./program"]


def _open_to_all(path: str) -> bool:
    """Whether every user of this machine can execute it."""
    if not os.path.isfile(path):
        return False
    real = Path(path).resolve()
    return all(folder.stat().st_mode & 0o001 for folder in (real, *real.parents))


def _build(folder: Path, tools: dict[str, str], python: str) -> None:
    """Fill the folder; where this machine's tools can't do it, the folder says so."""
    try:
        _make_header(folder, tools["clang++"])
        _make_library(folder, tools)
        shutil.copy(_SERVER, folder)
        _run([tools["gcc"], "-O2", "-shared", "-fPIC", str(_SNAPSHOT), "-o", str(folder / "snapshot.so")])
        _write_commands(folder, tools)
        _try_server(folder, python)
    except (subprocess.SubprocessError, OSError, ValueError, LookupError) as error:
        (folder / _UNUSABLE).write_text(f"{type(error).__name__}: {error}\n")


def _make_header(folder: Path, clang: str) -> None:
    (folder / "main.cpp").write_text(cpp_header.touched() + '#include "program.cpp"\n')
    (folder / "program.cpp").write_text("int main() {}\n")
    flags = ["-fpch-instantiate-templates", "-fpch-codegen"]
    # From standard input: the path of a file would be in there, and it would be looked for after the folder moved.
    _run([clang, *_LANGUAGE, *flags, "-x", "c++-header", "-", "-o", "std.pch"], folder, cpp_header.instantiated())


def _make_library(folder: Path, tools: dict[str, str]) -> None:
    """The code of the header's functions; and an empty library of the same name, for a quick link."""
    _run([tools["clang++"], *_LANGUAGE, "-c", "std.pch", "-o", "std.o"], folder)
    shared = [tools["clang++"], "-shared", f"-Wl,-soname,{_LIBRARY}", "-fuse-ld=mold"]
    _run([*shared, "-Wl,-Bsymbolic-functions", "std.o", "-o", _LIBRARY], folder)
    _run([*shared, "-nostdlib", "-x", "c", os.devnull, "-o", "stub.so"], folder)
    (folder / "std.o").unlink()


def _write_commands(folder: Path, tools: dict[str, str]) -> None:
    """Command lines of compiler and linker, `{folder}` in them being where the folder comes to lie."""
    clang = tools["clang++"]
    asked = [clang, *_LANGUAGE, "-include-pch", f"{folder}/std.pch", "-c", f"{folder}/main.cpp", "-o", "-", "-###"]
    words = _words_with(asked, "-cc1")
    # To tear down what the copies share would copy it.
    command = [word.replace(str(folder), "{folder}") for word in words if word != "-clear-ast-before-backend"]
    words = _words_with([clang, f"{folder}/program.cpp", "-###"], "-dynamic-linker")
    loader = words[words.index("-dynamic-linker") + 1]

    def file(name: str) -> str:
        return _file(clang, name)

    libraries = [file(name) for name in ("libstdc++.so", "libm.so.6", "libc.so.6", "libgcc_s.so.1")]
    static = [path for path in (file("libc_nonshared.a"),) if os.path.isabs(path)]
    link = [tools["mold"], "--no-threads", "--no-fork", "-shared", "-Bsymbolic", "-z", "now", "-z", "undefs"]
    link += ["--hash-style=gnu", "--eh-frame-hdr", "-dynamic-linker", loader, "-o", "-"]
    link += [file("Scrt1.o"), file("crti.o"), file("crtbeginS.o"), "{object}", "{folder}/stub.so", *libraries, *static]
    link += [file("crtendS.o"), file("crtn.o")]
    roots = ":".join(["/usr/include", "/usr/lib", "/usr/local/include"])
    commands = {"compile": command, "link": link, "roots": roots, "loader": loader}
    (folder / "commands.json").write_text(json.dumps(commands, indent=1))
    (folder / "symbols").write_text("\n".join(sorted({*_symbols([str(folder / _LIBRARY), *libraries], static)})))


def _words_with(command: list[str], word: str) -> list[str]:
    """The words of the first command that clang says it would execute and that has this word."""
    lines = [shlex.split(line) for line in _output(command).splitlines() if line.startswith(' "')]
    return next((words for words in lines if word in words), [])


def _symbols(shared: list[str], static: list[str]) -> Iterator[str]:
    """Names that the libraries define."""
    listings = [_output(["nm", "-D", "--defined-only", path]) for path in shared]
    listings += [_output(["nm", "--defined-only", path]) for path in static]
    for listing in listings:
        for line in listing.splitlines():
            words = line.split()
            if len(words) == 3:
                yield words[2].partition("@")[0]
    yield from ("_GLOBAL_OFFSET_TABLE_", "__dso_handle")


def _try_server(folder: Path, python: str) -> None:
    """
    Raises:
        ValueError: it does not compile a small program to something that runs.
    """
    name = b"program.cpp"
    request = b"".join(len(frame).to_bytes(4, "little") + frame for frame in (name, _TRIAL))
    server = [python, "-I", "-S", "-B", str(folder / _SERVER.name), str(folder)]
    answer = subprocess.run(server, input=request, env={}, capture_output=True, timeout=_SECONDS).stdout[4:]
    if answer[:1] != b"\0":
        raise ValueError("the server does not compile")
    program = folder / "trial"
    program.write_bytes(answer[1 + 4 + len("program") + 4 :])
    loader = json.loads((folder / "commands.json").read_text())["loader"]
    subprocess.run([loader, "--library-path", str(folder), str(program)], env={}, timeout=_SECONDS, check=True)
    program.unlink()


def _file(clang: str, name: str) -> str:
    return os.path.realpath(_output([clang, f"-print-file-name={name}"]).strip())


def _run(command: list[str], folder: Path | None = None, text: str = "") -> None:
    subprocess.run(command, cwd=folder, input=text.encode(), capture_output=True, timeout=_SECONDS, check=True)


def _output(command: list[str], folder: Path | None = None) -> str:
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_SECONDS, check=True
    )
    return done.stdout.decode("utf-8", "replace")
