"""llama.cpp's log: passed on to standard error as JSON lines, and read for what only it tells."""

import json
import os
import re
import sys
from collections import deque
from datetime import UTC, datetime

DEBUG, INFORMATION, WARNING, ERROR, CONTINUED = 1, 2, 3, 4, 5
MIB = 1 << 20
BUFFER = re.compile(r"(\S+)\s+(model|KV|RS|compute|output)\s+buffer size\s*=\s*([\d.]+) MiB")
PREFIX = re.compile(r"^\w+: |^error loading model: ")
NO_MEMORY = re.compile(r"out of memory|alloc|insufficient memory", re.IGNORECASE)


class NativeLog:
    """`sink` is called by llama.cpp, from any of its threads. Warnings and errors are always passed on, the rest only
    where `verbose`."""

    def __init__(self) -> None:
        self.verbose = False
        self.errors: deque[str] = deque(maxlen=8)
        self.buffers: list[tuple[str, str, int]] = []  # device, what for, bytes
        self._level, self._line = INFORMATION, ""

    def sink(self, level: int, text: str) -> None:
        if level != CONTINUED:
            self._level = level
        if self._level == DEBUG:
            return
        self._line += text
        if self._line.endswith("\n"):
            line, self._line = self._line.strip(), ""
            self._record(line)

    def reason(self) -> str:
        """The first error in its own words, without the function it came from; empty if there was none."""
        if not self.errors:
            return ""
        text = self.errors[0]
        while (short := PREFIX.sub("", text)) != text:
            text = short
        return text.rstrip(".")

    def out_of_memory(self) -> bool:
        return any(NO_MEMORY.search(line) for line in self.errors)

    def total(self, *purposes: str, on_gpu: bool = False) -> int:
        """Bytes that llama.cpp said it took for these purposes, everywhere or only beside the CPU."""
        return sum(
            size for device, what, size in self.buffers if what in purposes and not (on_gpu and _is_host(device))
        )

    def _record(self, line: str) -> None:
        if not line.strip("."):
            return
        if self._level == ERROR:
            self.errors.append(line)
        if match := BUFFER.search(line):
            self.buffers.append((match[1], match[2], int(float(match[3]) * MIB)))
        if self.verbose or self._level in (WARNING, ERROR):
            print(json.dumps(self._entry(line)), file=sys.stderr)

    def _entry(self, line: str) -> dict[str, object]:
        """In the shape of every other process's log."""
        level = {WARNING: "warning", ERROR: "error"}.get(self._level, "debug")
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        origin = {"logger": "llama.cpp", "process": "runner", "pid": os.getpid()}
        return {"event": line, "level": level, "timestamp": now, **origin}


def _is_host(device: str) -> bool:
    return device.startswith("CPU") or device.endswith("_Host")
