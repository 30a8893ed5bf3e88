"""Ties what a test starts to the process that runs the tests: killed, it could end nothing more."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Final

from localcloud.processes import LAUNCHER

_PR_SET_PDEATHSIG: Final = 1


def tied(words: Sequence[str]) -> list[str]:
    """The command of a process that ends with this one, even by `kill -9`; its id stays its own.

    Raises:
        RuntimeError: this is not the main thread. Linux looks at the thread that starts a process,
            and would end it with that.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(f"start {words[0]} from the main thread: it ends with its thread")
    return [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), *words]


def tie(parent: int) -> None:
    """In a fork: end with the process that forked."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the call above
            os._exit(1)
