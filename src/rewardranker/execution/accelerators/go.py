"""Go: the build cache that `go test` fills on its first run, prepared once and copied into each program's sandbox.

A program's cache is its own and vanishes with it; the prepared one is read-only. Same command, so same verdicts: most
of a cold start is `go vet` reading the standard packages that the tests import.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from rewardranker.errors import SandboxError
from rewardranker.execution.languages import Toolchain
from rewardranker.execution.prepared import prepared

_PACKAGES = (
    *("bufio", "bytes", "container/heap", "container/list", "container/ring", "context", "crypto/md5"),
    *("crypto/sha256", "encoding/base64", "encoding/binary", "encoding/hex", "encoding/json", "errors", "fmt"),
    *("hash/fnv", "io", "math", "math/big", "math/bits", "math/cmplx", "math/rand", "os", "reflect", "regexp"),
    *("runtime", "sort", "strconv", "strings", "sync", "sync/atomic", "text/template", "time"),
    *("unicode", "unicode/utf8", "unsafe"),
)
"""What programs import; another package costs the time that this saves."""
_COPY_AND_BUILD = 'export GOCACHE="${GOCACHE:-$HOME/go-build}" && cp -r "$1" "$GOCACHE" && shift && exec "$@"'
_SECONDS = 600.0


def accelerate(found: Toolchain, memory_mb: int) -> dict[str, Any]:
    """Overrides of the worker's toolchain fields; none where there is no `sh` or `cp`.

    Raises:
        SandboxError: `go test` does not work, or the cache folder can't be written.
    """
    del memory_mb
    shell = shutil.which("sh", path="/usr/bin:/bin")
    if shell is None or shutil.which("cp", path="/usr/bin:/bin") is None:
        return {}
    plain = found.compile_ways()
    go = found.programs["go"]
    environment = found.environment
    folder = prepared(
        "go", [found.version, *_PACKAGES, Path(__file__).read_text()], lambda new: _fill(new, go, environment)
    )
    ((build,),) = plain
    return {"builds": [[[shell, "-c", _COPY_AND_BUILD, "sh", str(folder / "cache"), *build]], *plain]}


def _fill(folder: Path, go: str, environment: dict[str, str]) -> None:
    imports = "".join(f'import _ "{name}"\n' for name in _PACKAGES)
    test = f'package all_test\n\nimport "testing"\n{imports}\nfunc TestNothing(t *testing.T) {{}}\n'
    with tempfile.TemporaryDirectory() as work:
        Path(work, "program_test.go").write_text(test)
        done = subprocess.run(
            [go, "test", "-c", "-o", os.path.join(work, "program"), "program_test.go"],
            cwd=work,
            env={**environment, "HOME": work, "GOCACHE": str(folder / "cache")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
        )
    if done.returncode != 0:
        raise SandboxError(f"go test fails: {done.stderr.decode('utf-8', 'replace')[-500:].strip()}")
    # What belongs to that one program is no use to others.
    (folder / "cache" / "trim.txt").unlink(missing_ok=True)
