"""A process that somebody keeps running: what it is, and how it is started. Keeping it is supervisor.py's work."""

import ctypes
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


class StartError(Exception):
    """Why something could not be started: a sentence for the person who started it."""


@dataclass(frozen=True)
class Process:
    """A foreground process, described but not started.

    `grace` is how many seconds it gets between `stop_signal` and SIGKILL. `ready` says whether it answers;
    without one it counts as ready at once. `log` takes its output; without one it writes where we write.
    One that `keeps_data` is never hurried, and outlives a killed supervisor, so that the others can still write to it.
    """

    name: str
    command: list[str]
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 10.0
    ready: Callable[[], bool] | None = None
    user: str | None = None
    env: Mapping[str, str] | None = None
    cwd: str | None = None
    log: Path | None = None
    keeps_data: bool = False


def spawn(process: Process, *, outlives_us: bool = False) -> subprocess.Popen[bytes]:
    """Starts it in a session of its own, so that a Ctrl-C in our terminal reaches us and not it."""
    account = pwd.getpwnam(process.user) if process.user else None
    output = os.open(process.log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600) if process.log else None
    try:
        return subprocess.Popen(
            process.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=process.env,
            cwd=process.cwd,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            start_new_session=True,
            preexec_fn=None if outlives_us else _dies_with_its_parent(process.stop_signal),
        )
    except FileNotFoundError:
        raise StartError(f"{process.name} cannot start: {process.command[0]} is missing; run `make setup`.") from None
    finally:
        if output is not None:
            os.close(output)


def _dies_with_its_parent(stop_signal: signal.Signals) -> Callable[[], None] | None:
    """On Linux the kernel tells a child that its parent is gone, so that a supervisor's kill -9 stops its work.

    A belt only: what this misses, the next start finds (leftovers.py).
    """
    if _libc is None:
        return None
    parent = os.getpid()

    def arrange() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, int(stop_signal))
        if os.getppid() != parent:
            os._exit(1)

    return arrange


def last_words(process: Process, *, lines: int = 3) -> str:
    """The end of what it wrote to its log, for the sentence that says why it failed."""
    if process.log is None or not process.log.exists():
        return ""
    written = process.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " ".join(line.strip() for line in written[-lines:])


def ended_while_starting(process: Process, code: int) -> StartError:
    words = last_words(process)
    if "No space left on device" in words:
        return StartError(f"The disk is full: {process.name} could not start.")
    reason = f": {words}" if words else "; the lines above say why."
    return StartError(f"{process.name} ended with code {code} while starting{reason}")
