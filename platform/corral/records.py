"""Which processes `manage.py up` has running, written down so that the next one can find them after a kill -9."""

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from corral.processes import Process

CLOCK_TOLERANCE = 2.0  # seconds: a clock that is set moves the start times that the system reports


@dataclass(frozen=True)
class Record:
    """One child. `created` is its start in seconds since the epoch: with the pid it names one process for good."""

    name: str
    pid: int
    created: float
    stop_signal: int
    grace: float

    def leader(self) -> psutil.Process | None:
        """The recorded process, if it still lives (and its number has not gone to another)."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < CLOCK_TOLERANCE
            return process if same and lives(process) else None
        except psutil.NoSuchProcess:
            return None

    def session(self) -> list[psutil.Process]:
        """All that lives of the child's session: itself and what it started."""
        if self.created + CLOCK_TOLERANCE < psutil.boot_time():
            return []  # the machine was restarted since: the number means nothing now
        if self.leader() is None and _number_is_taken(self.pid):
            return []
        return [process for process in psutil.process_iter() if _in_session(process, self.pid)]


def _number_is_taken(pid: int) -> bool:
    try:
        return lives(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return False


def lives(process: psutil.Process) -> bool:
    """Whether it runs. A zombie does not: who should ask for it may never do so."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _in_session(process: psutil.Process, session: int) -> bool:
    try:
        return os.getsid(process.pid) == session and lives(process)
    except (ProcessLookupError, PermissionError):
        return False


def of(process: Process, pid: int) -> Record:
    """The record of a process that was just started as `pid`."""
    created = psutil.Process(pid).create_time()
    return Record(process.name, pid, created, int(process.stop_signal), process.grace)


def read(path: Path) -> list[Record]:
    if not path.exists():
        return []
    return [Record(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]


def write(path: Path, entries: Sequence[Record]) -> None:
    """Replaces the file whole, so that a reader never meets half of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".processes-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump([asdict(entry) for entry in entries], file)
    os.rename(temporary, path)
