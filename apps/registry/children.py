"""A process of our own for one piece of work on a user's file: started, watched, and killed when nobody wants it."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, Final

from apps.errors import Problem

Check = Callable[[], None]
Heard = Callable[[str], None]

LOOK_SECONDS: Final = 0.25  # between two looks at whether somebody cancelled
SILENCE_SECONDS: Final = 3600  # the longest that one tensor may take
_CHUNK = 1 << 16
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ")
_NO_GPU = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "", "GGML_VK_VISIBLE_DEVICES": ""}


def run(
    module: str,
    *,
    files: Mapping[str, Path],
    output: FileIO,
    output_bytes: int,
    memory_bytes: int,
    heard: Heard,
    check: Check,
    **more: Any,
) -> dict[str, Any]:
    """Runs `python -m module` on open files and returns what it says at its end. `more` goes into its command.

    `heard` gets the name of each tensor that is done; what `check` raises (a cancel) ends the process. Raises Problem
    when the process says one, dies or falls silent.
    """
    with ExitStack() as opened:
        inputs = {name: opened.enter_context(path.open("rb")).fileno() for name, path in files.items()}
        command = {**more, "files": inputs, "output": output.fileno()}
        command |= {"output_bytes": output_bytes, "memory_bytes": memory_bytes}
        with _started(module, command) as (process, answers):
            for event in _events(answers, check):
                if "tensor" in event:
                    heard(str(event["tensor"]))
                elif "problem" in event:
                    raise Problem.from_data(event["problem"])
                elif "done" in event:
                    return dict(event["done"])
            raise _death(module, process.wait())


@contextmanager
def _started(module: str, command: dict[str, Any]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The process and where its answers come; it is gone afterwards, whatever happened."""
    answers, theirs = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs, command["output"], *command["files"].values()),
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | _NO_GPU,
            cwd="/",
            start_new_session=True,
        )
    except OSError:
        os.close(answers)
        raise
    finally:
        os.close(theirs)
    try:
        _send(process, {**command, "events": theirs})
        yield process, answers
    finally:
        process.kill()
        process.wait()
        os.close(answers)


def _send(process: subprocess.Popen[bytes], command: dict[str, Any]) -> None:
    """The command is far smaller than a pipe holds. A process that has died already is found by its silence."""
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(command).encode() + b"\n")
        process.stdin.close()
    except BrokenPipeError:
        return


def _events(answers: int, check: Check) -> Iterator[dict[str, Any]]:
    buffer = bytearray()
    last = time.monotonic()
    while True:
        check()
        if select.select([answers], [], [], LOOK_SECONDS)[0]:
            chunk = os.read(answers, _CHUNK)
            if not chunk:
                return
            last = time.monotonic()
            buffer += chunk
            *lines, rest = buffer.split(b"\n")
            buffer = bytearray(rest)
            yield from (json.loads(line) for line in lines)
        elif time.monotonic() - last > SILENCE_SECONDS:
            raise Problem("internal", f"nothing happened for {SILENCE_SECONDS} s: given up")


def _death(module: str, status: int) -> Problem:
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return Problem("internal", f"the process that read the files ({module.rsplit('.', 1)[1]}) ended with {how}")
