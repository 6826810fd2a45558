"""What a supervisor that was killed left running: found by its records, stopped in the order of a clean stop."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import structlog

from corral import datadir, records
from corral.records import Record

log = structlog.get_logger()


def stop_all(path: Path) -> None:
    """Stops everything that the records at `path` name and that still lives. They are in the order of a stop."""
    for record in records.read(path):
        if record.session():
            log.warning("stopping what an earlier run left", process_name=record.name, pid=record.pid)
            end_session(record)
    path.unlink(missing_ok=True)


def end_session(record: Record) -> None:
    """Asks the child to stop, waits its grace, kills what stays. On return nothing of its session lives."""
    leader = record.leader()
    if leader is not None:
        _send([leader], record.stop_signal)
        _send(_wait([leader], record.grace), signal.SIGKILL)
    rest = record.session()
    _send(rest, signal.SIGTERM)
    alive = _wait(rest, 1.0)
    _send(alive, signal.SIGKILL)
    _wait(alive, 10.0)


def _wait(processes: Sequence[psutil.Process], timeout: float) -> list[psutil.Process]:
    """Those that still live after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while (alive := [process for process in processes if records.lives(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return alive


def _send(processes: Sequence[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def clear_postgres(root: Path) -> None:
    """Stops a PostgreSQL that runs on our cluster without a record; removes the pid files of one that does not.

    PostgreSQL refuses to start while a process with the number in its pid file lives, whosever that is: after a
    reboot or in a new container that is often somebody else's.
    """
    pid_file = root / "postgres" / "postmaster.pid"
    sockets = datadir.socket_folder(root)
    if pid_file.exists():
        _stop_postmaster(pid_file)
    for stale in (pid_file, sockets / ".s.PGSQL.5432.lock", sockets / ".s.PGSQL.5432"):
        stale.unlink(missing_ok=True)


def _stop_postmaster(pid_file: Path) -> None:
    first = pid_file.read_text(encoding="utf-8").partition("\n")[0].strip()
    try:
        process = psutil.Process(abs(int(first)))
        ours = process.cwd() == os.path.realpath(pid_file.parent)
    except (ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
        return  # half a file, a dead one, or a stranger's
    if not ours:
        return
    log.warning("stopping a PostgreSQL that was left on our cluster", pid=process.pid)
    process.send_signal(signal.SIGINT)
    alive = _wait([process], 60.0)
    _send(alive, signal.SIGQUIT)  # at once, recovered from its log at the next start
    _wait(alive, 10.0)
