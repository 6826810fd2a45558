"""What the render child may still do: it runs templates and reads files that strangers made. No Django.

It ends by itself, too, where nobody is left to kill it: idle when its input closes, in a loop by its timers. (A
parent-death signal would be tied to the parent's thread that happened to start it.)
"""

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_LOADING_BYTES = 8 * 1024**3  # address space while the vocabulary is read
_NOBODY = 65534
_PR_SET_NO_NEW_PRIVS = 38
_STATM = Path("/proc/self/statm")


class OutOfTime(BaseException):
    """Not an Exception: nothing between a template and the child's loop may swallow it."""


def before_loading(*, seconds: int) -> None:
    """No core dump (it would hold prompts), no files written, no privileges gained, and an end if loading hangs."""
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _lower(resource.RLIMIT_AS, _LOADING_BYTES)
    signal.alarm(seconds)


def after_loading(*, extra_bytes: int) -> None:
    """Nothing is opened, connected or started from here on, and memory may grow by so much at most."""
    signal.alarm(0)
    signal.signal(signal.SIGALRM, _stop)
    if _STATM.exists():
        pages = int(_STATM.read_text().split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + extra_bytes)
    if os.geteuid() == 0:
        _leave_root()
    _lower(resource.RLIMIT_NPROC, 0)
    _lower(resource.RLIMIT_NOFILE, 0)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """OutOfTime after so many seconds; native code that keeps Python from saying so is ended by its CPU time."""
    signal.setitimer(signal.ITIMER_PROF, 2 * seconds)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise OutOfTime


def _leave_root() -> None:
    os.setgroups([])
    os.setgid(_NOBODY)
    os.setuid(_NOBODY)


def _lower(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (limit, limit))
