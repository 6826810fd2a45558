"""What a process gives up before it reads a user's file, and how it talks to the worker that started it. No Django.

The worker sends one JSON line; answers are JSON lines on a descriptor of their own: {"tensor": name} for each tensor
that is done, then {"done": {…}} or {"problem": Problem.as_data()}. apps/registry/children.py is the other end.
"""

import ctypes
import errno
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

from apps.errors import Problem

Tell = Callable[[dict[str, Any]], None]

_NO_SPACE = ("no_space", "no space is left on the server's disk for this file")
_FULL = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: ("internal", "the file that was made became larger than it can be: given up"),
}

_NOBODY = 65534
_NICE = 10  # whoever answers a prompt goes first
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38


def serve(work: Callable[[dict[str, Any], Tell], dict[str, Any]]) -> None:
    """Reads the command, gives up all rights, does the work and says how it ended.

    What `work` needs must be imported by then. What is no Problem ends the process with a status that the worker
    reports.
    """
    command = json.loads(sys.stdin.buffer.readline())
    confine(output=command["output"], output_bytes=command["output_bytes"], memory_bytes=command["memory_bytes"])

    def tell(event: dict[str, Any]) -> None:
        os.write(command["events"], json.dumps(event).encode() + b"\n")

    try:
        tell({"done": work(command, tell)})
    except Problem as problem:
        tell({"problem": problem.as_data()})
    except MemoryError:
        tell({"problem": Problem("too_large", "this needs more memory than the server allows for it").as_data()})
    except OSError as error:
        if error.errno not in _FULL:
            raise
        tell({"problem": Problem(*_FULL[error.errno]).as_data()})


def confine(*, output: int, output_bytes: int, memory_bytes: int) -> None:
    """Nothing larger than `output_bytes` is written, no more than `memory_bytes` allocated (mapped files are not
    counted), no right gained; it dies with the worker's thread that started it."""
    os.nice(_NICE)
    for kind, limit in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, output_bytes),
        (resource.RLIMIT_DATA, memory_bytes),
    ):
        _, hard = resource.getrlimit(kind)
        lowered = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (lowered, lowered))
    if os.geteuid() == 0:
        os.fchmod(output, 0o666)  # opened once more below these rights; its folder is private
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        # Changing the user makes /proc/self/fd another's: without this the files could not be opened by their names.
        for option, value in ((_PR_SET_DUMPABLE, 1), (_PR_SET_PDEATHSIG, signal.SIGKILL), (_PR_SET_NO_NEW_PRIVS, 1)):
            if libc.prctl(option, value, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "the process could not be confined")
