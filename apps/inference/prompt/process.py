"""The parent's end of one render child: start it, pass lines with a deadline, end it. No Django."""

import os
import select
import subprocess
import sys
import time

_CHUNK = 1 << 18
# What a child needs of the environment: it must not inherit secrets, and no GPU is to be woken for a vocabulary.
_KEPT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TZ", "SYSTEMROOT")
_NO_GPU = {"CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "", "GGML_VK_VISIBLE_DEVICES": ""}


class ChildDied(Exception):
    """The child ended before it answered."""


class ChildSilent(Exception):
    """The child did not answer in time."""


class Child:
    """One process, used by one thread at a time (but for `kill`). Moments are those of `time.monotonic`."""

    def __init__(self, model_path: str) -> None:
        self._answers, theirs = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", "apps.inference.prompt.child", model_path, str(theirs)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs,),
                env={name: os.environ[name] for name in _KEPT if name in os.environ} | _NO_GPU,
                cwd="/",
                start_new_session=True,
                bufsize=0,
            )
        except OSError:
            os.close(self._answers)
            raise
        finally:
            os.close(theirs)
        self._buffer = bytearray()
        os.set_blocking(self._answers, False)
        os.set_blocking(self._input, False)

    @property
    def pid(self) -> int:
        return self._process.pid

    def alive(self) -> bool:
        return self._process.poll() is None

    def send(self, line: bytes, *, until: float) -> None:
        """Hand over a whole line. Raises ChildDied or ChildSilent."""
        left = memoryview(line)
        while left:
            self._wait(self._input, select.POLLOUT, until)
            try:
                left = left[os.write(self._input, left[:_CHUNK]) :]
            except BlockingIOError:
                continue  # less room in the pipe than was announced
            except BrokenPipeError as error:
                raise ChildDied from error

    def receive(self, *, until: float) -> bytes:
        """The next line. Raises ChildDied or ChildSilent."""
        seen = 0
        while (end := self._buffer.find(b"\n", seen)) < 0:
            seen = len(self._buffer)
            self._wait(self._answers, select.POLLIN, until)
            chunk = os.read(self._answers, _CHUNK)
            if not chunk:
                raise ChildDied
            self._buffer += chunk
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def kill(self) -> None:
        """From any thread, any number of times; whoever waits for an answer then sees ChildDied."""
        self._process.kill()

    def end(self) -> int:
        """Kill, reap and close. Returns the exit status (negative: a signal)."""
        self.kill()
        status = self._process.wait()
        if self._answers >= 0:
            os.close(self._answers)
            self._answers = -1
        if self._process.stdin:
            self._process.stdin.close()
        return status

    @property
    def _input(self) -> int:
        if self._process.stdin is None or self._process.stdin.closed:
            raise ChildDied
        return self._process.stdin.fileno()

    def _wait(self, fd: int, event: int, until: float) -> None:
        poll = select.poll()
        poll.register(fd, event)
        if not poll.poll(max(0.0, until - time.monotonic()) * 1000):
            raise ChildSilent
