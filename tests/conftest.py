"""Before any test: what the suite takes from the process that started it."""

from __future__ import annotations

import os
import signal

# Started in the background (`nohup`, some CI runners), the suite inherits an ignored Ctrl-C, and so would the commands
# whose Ctrl-C it tests.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

if "PYTEST_XDIST_WORKER" in os.environ:  # one thread for each of the processes that share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
