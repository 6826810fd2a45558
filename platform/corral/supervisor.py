"""Keeps processes running, restarts those that die, and stops them in order.

The supervisor knows nothing of what its processes do: up.py says what to start, in which order. They are stopped in the
reverse of that order. It never reads from them; each has a session of its own, and only the supervisor gets Ctrl-C.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import structlog

from corral import leftovers, records
from corral.processes import Process, StartError, ended_while_starting, spawn
from corral.records import Record

T = TypeVar("T")

TICK = 0.05  # seconds between two looks at a process
FIRST_DELAY, LONGEST_DELAY = 0.5, 30.0  # seconds before a restart
HEALTHY_AFTER = 60.0  # seconds: one that lived so long has its delay forgotten
START_TIMEOUT = 60.0
PATIENCE = 3  # deaths of one child before everything was up: more is no accident

log = structlog.get_logger()


class StopAsked(Exception):
    """Ctrl-C or SIGTERM came."""


@dataclass
class Child:
    process: Process
    popen: subprocess.Popen[bytes]
    record: Record
    started: float = field(default_factory=time.monotonic)
    failures: int = 0
    keeper: "asyncio.Task[None] | None" = None

    async def ended(self) -> int:
        if hasattr(os, "pidfd_open"):  # Linux says so itself: looking every tick took as much as a model's heartbeat
            await _until_exit(self.popen.pid)
        while (code := self.popen.poll()) is None:
            await asyncio.sleep(TICK)
        return code

    def delay(self) -> float:
        """How long to wait before this child, which just ended, is started again."""
        self.failures = 1 if time.monotonic() - self.started >= HEALTHY_AFTER else self.failures + 1
        return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** (self.failures - 1))


async def _until_exit(pid: int) -> None:
    """Sleeps until our child `pid` has ended; it stays a zombie, to be waited for."""
    descriptor, exited = os.pidfd_open(pid), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(descriptor, exited.set)
    try:
        await exited.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


class Supervisor:
    """Use as an async context manager: what was started is stopped when the block is left, however it is left."""

    def __init__(self, records_file: Path) -> None:
        self._records_file = records_file
        self._children: dict[str, Child] = {}  # in the order in which they were started
        self._asked = asyncio.Event()
        self._hurried = False
        self._settled = False
        self._gave_up: StartError | None = None
        self._signals = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as under nohup
            self._signals.append(signal.SIGHUP)

    async def __aenter__(self) -> "Supervisor":
        for number in self._signals:
            asyncio.get_running_loop().add_signal_handler(number, self._ask)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop_all()
        for number in self._signals:
            asyncio.get_running_loop().remove_signal_handler(number)

    def _ask(self) -> None:
        self._hurried = self._asked.is_set()
        self._asked.set()

    def settled(self) -> None:
        """Says that everything is up: from now on a child may die as often as it likes."""
        self._settled = True

    async def start(self, process: Process) -> None:
        """Starts the process, waits until it is ready, and keeps it. Raises StartError or StopAsked."""
        child = self._spawn(process)
        await self.unless_stopped(self._until_ready(child))
        child.keeper = asyncio.create_task(self._keep(child))

    async def run(self, process: Process) -> int:
        """Runs the process once, to its end, and returns its exit code. Raises StopAsked."""
        child = self._spawn(process)
        code = await self.unless_stopped(child.ended())
        self._forget(child)
        return code

    async def serve(self) -> None:
        """Returns when a stop is asked for."""
        await self._asked.wait()
        if self._gave_up is not None:
            raise self._gave_up

    async def unless_stopped(self, work: Awaitable[T]) -> T:
        """Awaits `work`, or raises StopAsked (or why we gave up) when that comes first."""
        task, stop = asyncio.ensure_future(work), asyncio.create_task(self._asked.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise self._gave_up or StopAsked
        finally:
            for pending in (task, stop):
                pending.cancel()

    def _spawn(self, process: Process, failures: int = 0) -> Child:
        popen = spawn(process, outlives_us=process.keeps_data)
        child = Child(process, popen, records.of(process, popen.pid), failures=failures)
        self._children[process.name] = child
        self._write_records()
        log.debug("started", process_name=process.name, pid=popen.pid)
        return child

    def _forget(self, child: Child) -> None:
        self._children.pop(child.process.name, None)
        self._write_records()

    def _write_records(self) -> None:
        try:
            records.write(self._records_file, [child.record for child in self._in_stop_order()])
        except OSError as error:  # a full disk: the records are insurance, what runs goes on running
            log.error("cannot write down what runs", reason=str(error))

    def _in_stop_order(self) -> list[Child]:
        return list(reversed(self._children.values()))

    async def _until_ready(self, child: Child) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while child.process.ready is not None and not child.process.ready():
            if (code := child.popen.poll()) is not None:
                raise ended_while_starting(child.process, code)
            if time.monotonic() > deadline:
                raise StartError(f"{child.process.name} did not answer within {START_TIMEOUT:.0f} seconds.")
            await asyncio.sleep(TICK)

    async def _keep(self, child: Child) -> None:
        """Waits for the child's end and starts it again, for ever."""
        while True:
            code = await child.ended()
            delay = child.delay()
            if not self._settled and child.failures >= PATIENCE:
                self._give_up(ended_while_starting(child.process, code))
                return
            log.warning("ended; starting it again", process_name=child.process.name, exit_code=code, in_seconds=delay)
            await asyncio.to_thread(leftovers.end_session, child.record)
            child = await self._replace(child, delay)

    async def _replace(self, child: Child, delay: float) -> Child:
        """A new child in the old one's place, its order of stopping kept (the dict keeps a key's place)."""
        while True:
            await asyncio.sleep(delay)
            try:
                fresh = self._spawn(child.process, child.failures)
            except (StartError, OSError) as error:
                delay = child.delay()
                log.error("cannot start", process_name=child.process.name, reason=str(error), again_in_seconds=delay)
                continue
            fresh.keeper = child.keeper
            return fresh

    def _give_up(self, error: StartError) -> None:
        self._gave_up = error
        self._asked.set()

    async def _stop_all(self) -> None:
        self._asked.set()
        keepers = [child.keeper for child in self._children.values() if child.keeper]
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        for child in self._in_stop_order():
            await self._stop(child)
            self._forget(child)
        self._records_file.unlink(missing_ok=True)

    async def _stop(self, child: Child) -> None:
        """Asks, waits the child's grace (a second Ctrl-C ends that early), then kills what is left of its session."""
        if child.popen.poll() is None:
            child.popen.send_signal(child.process.stop_signal)
        deadline = time.monotonic() + child.process.grace
        while child.popen.poll() is None and time.monotonic() < deadline and not self._hurries(child):
            await asyncio.sleep(TICK)
        if child.popen.poll() is None:
            log.warning("did not stop in time; killing it", process_name=child.process.name)
            child.popen.kill()
            child.popen.wait()
        await asyncio.to_thread(leftovers.end_session, child.record)

    def _hurries(self, child: Child) -> bool:
        return self._hurried and not child.process.keeps_data
