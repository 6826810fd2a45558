"""A worker's side of one replica: its runner process, its render child, and the runs that it holds.

Three threads serve a host: the feeder renders prompts and hands runs to the runner, the reader takes the runner's
events, and the agent's spawner starts and stops the processes (a parent-death signal is tied to the thread that
starts a child, so that thread must live as long as the worker).
"""

import functools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from apps.errors import Problem
from apps.inference import commands
from apps.inference.clerk import AWAY, persist
from apps.inference.endings import DIED, DIED_MIDWAY
from apps.inference.prompt.client import Renderer
from apps.inference.runner_login import RunnerLogin
from apps.inference.types import PROGRESS, RENDERED, Request, RunEnd

log = structlog.get_logger(__name__)
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT", "HOME")
MALLOC = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "1048576"}  # glibc: what is freed goes back
PASSED_PREFIXES = ("CUDA_", "NVIDIA_", "HIP_", "HSA_", "ROCR_", "GGML_", "LLAMA_", "VK_", "METAL_")
STOP_GRACE = 3.0  # seconds


@dataclass
class Seat:
    """One run at this host. `said` becomes true with its first token; `allowed` when the runner may write to its log;
    `handed` when the runner has it.

    It is seated before its row says so and its log is claimed, so that its prompt is prepared meanwhile; until then
    nothing is written and nothing is said of it (`is_ours`).
    """

    run_id: str
    attempt: int
    fence: int
    kind: str
    arrived_ns: int
    payload: dict[str, Any]
    user_id: int
    context: int
    allowed: bool = False
    handed: bool = False
    said: bool = False
    prompt: tuple[int, ...] = ()
    dropped: int = 0
    load_ns: int = 0

    def __post_init__(self) -> None:
        self._ours = False
        self._known = threading.Event()

    def settle(self, *, ours: bool) -> None:
        """Whether row and log are this attempt's: to be said once by whoever seated it, come what may."""
        self._ours = ours
        self._known.set()

    def is_ours(self) -> bool:
        """Waits until that is settled."""
        self._known.wait()
        return self._ours

    @property
    def settled(self) -> bool:
        return self._known.is_set()

    @property
    def log_id(self) -> str:
        return f"run-{self.run_id}"

    @property
    def share_key(self) -> str:
        """Whose tokens these are: what was prepared or computed for one user is used again for the same alone."""
        return f"user-{self.user_id}"


class Ledger(Protocol):
    """Where a host reports to: the agent."""

    def ready(self, host: "Host", event: dict[str, Any]) -> None: ...
    def progress(self, host: "Host", fraction: float) -> None: ...
    def note(self, seat: Seat, kind: str, data: dict[str, Any]) -> None: ...
    def ended(self, host: "Host", seat: Seat, end: RunEnd, problem: Problem | None) -> None: ...
    def gone(self, host: "Host", why: str) -> None: ...


@dataclass
class Host:
    replica_id: str
    load: dict[str, Any]  # the runner's configuration (apps/inference/runner)
    report: Ledger
    seats: dict[str, Seat] = field(default_factory=dict)
    state: str = "new"  # new, loading, ready, stopping, gone

    def __post_init__(self) -> None:
        self._inbox: queue.SimpleQueue[Seat | None] = queue.SimpleQueue()
        self._lock = threading.RLock()
        self._allowing = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = threading.Event()
        self._why = ""
        self._moved = time.monotonic()  # when the load last made progress
        self._login = RunnerLogin(self.replica_id)
        self.renderer = Renderer(model_path=self.load["model_path"])

    # --- called by the spawner's thread -----------------------------------------------------------------------

    def spawn(self) -> None:
        """Starts the runner and the render child."""
        events, writer = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "apps.inference.runner", "--events-fd", str(writer)],
            stdin=subprocess.PIPE,
            pass_fds=[writer],
            env=runner_environment(),
            start_new_session=True,
        )
        os.close(writer)
        self.state, self._moved = "loading", time.monotonic()
        self._send({"do": "load", **self.load, "redis_url": self._login.url})
        self.renderer.start()
        for target, args in ((self._read, (events,)), (self._feed, ())):
            threading.Thread(target=target, args=args, name=f"host-{target.__name__}", daemon=True).start()

    def stop(self) -> None:
        """Ends the runner; runs that it still holds end with it."""
        self.state = "stopping"
        process = self._process
        if process is None:
            self._close("stopped before it was started")
            return
        self._send({"do": "stop"})
        try:
            process.wait(STOP_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def check_load(self, *, patience: float) -> None:
        """Gives up a load that has shown no progress for `patience` seconds."""
        if self.state == "loading" and self._process and time.monotonic() - self._moved > patience:
            self._fail(Problem("internal", f"timed out after {patience:.0f} seconds waiting for the model to load"))
            self._process.kill()

    # --- called by Celery's doors and the agent -----------------------------------------------------------------

    def take(self, seat: Seat) -> bool:
        """Begins to prepare a run's prompt. False if this host has gone, or has a later attempt of the run."""
        with self._lock:
            held = self.seats.get(seat.run_id)
            if self.state == "gone" or (held is not None and held.attempt > seat.attempt):
                return False
            self.seats[seat.run_id] = seat
        self._inbox.put(seat)
        return True

    def cancel(self, run_id: str) -> None:
        """Drops a run: at the runner if that has it, else here, where it waits for the load."""
        with self._lock:
            seat = self.seats.get(run_id)
            if seat is not None and seat.settled and not seat.handed:
                self._ended(seat, RunEnd("cancelled"), None)
                return
        self._send({"do": "cancel", "run": run_id})

    def waiting(self) -> list[Seat]:
        with self._lock:
            return [seat for seat in self.seats.values() if seat.settled and not seat.handed]

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    # --- the feeder ---------------------------------------------------------------------------------------------

    def _feed(self) -> None:
        persist(self._allow)  # the login exists before the runner first knocks
        while (seat := self._inbox.get()) is not None:
            try:
                command = self._prepare(seat) if seat.kind != "load" else None
                persist(functools.partial(self._hand, seat, command))
            except Problem as problem:
                self._ended(seat, RunEnd("error"), problem)
            except Exception:
                log.exception("hand_over_failed", run=seat.run_id)
                self._ended(seat, RunEnd("error"), Problem("internal", "the prompt could not be built"))

    def _prepare(self, seat: Seat) -> dict[str, Any] | None:
        """Renders the prompt and puts the runner's command together; None where nothing is left for the runner."""
        request = Request.from_data(seat.payload["request"])
        job = commands.prompt_job(request, seat.payload, context=seat.context, share_key=seat.share_key)
        prompt = self.renderer.render(job, meanwhile=functools.partial(self._allow_early, seat))
        if not seat.is_ours():
            return None
        seat.dropped, seat.prompt = prompt.dropped_tokens, commands.words(prompt)
        if seat.dropped:
            self._note(seat, PROGRESS, {"stage": "prompt", "dropped_tokens": seat.dropped})
        if request.render_only:
            self._note(seat, RENDERED, {"text": prompt.text, "images": prompt.images, "tokens": prompt.length})
            self._ended(seat, RunEnd("stop", dropped_tokens=seat.dropped), None)
            return None
        names = {"run": seat.run_id, "log": seat.log_id, "fence": seat.fence}
        shared = {"share_key": seat.share_key, "num_ctx": seat.context}
        return {**commands.command(request, prompt), **names, **shared}

    def _note(self, seat: Seat, kind: str, data: dict[str, Any]) -> None:
        """A frame of ours, before the run is the runner's."""
        persist(functools.partial(self.report.note, seat, kind, data))

    def _hand(self, seat: Seat, command: dict[str, Any] | None) -> None:
        """Gives the run to the runner, or ends a mere load, as soon as the model is ready."""
        self._ready.wait()
        if not seat.is_ours():
            self._leave(seat)
            return
        with self._lock:
            if self.seats.get(seat.run_id) is not seat:  # cancelled meanwhile
                return
            seat.load_ns = max(1, time.time_ns() - seat.arrived_ns)
            seat.handed = True
        if command is None:
            self._ended(seat, RunEnd("stop", load_ns=seat.load_ns), None)
        else:
            if not seat.allowed:
                self._allow(seat)
            self._send(command)

    def renew_login(self) -> None:
        """Makes the runner's login anew: a Valkey that was restarted has forgotten it."""
        if self.state in ("loading", "ready"):
            self._allow()

    def _allow_early(self, seat: Seat) -> None:
        """Lets the runner write to this log while the render child is at work."""
        try:
            self._allow(seat)
        except AWAY as error:
            log.warning("database_away", error=str(error).strip())  # `_hand` asks again, until it is back

    def _allow(self, newcomer: Seat | None = None) -> None:
        """Makes the runner's login: from now on it may write to the logs of those who are seated and allowed."""
        with self._allowing:  # who sees more seats must not be overtaken by one who saw fewer
            with self._lock:
                logs = [seat.log_id for seat in self.seats.values() if seat.allowed or seat is newcomer]
            if self.state == "gone":
                return
            self._login.allow(logs)
            if newcomer is not None:
                newcomer.allowed = True

    def _end_login(self) -> None:
        with self._allowing:  # nobody makes it anew behind this
            self._login.close()

    # --- the reader ---------------------------------------------------------------------------------------------

    def _read(self, events: int) -> None:
        with os.fdopen(events, "rb") as pipe:
            for line in pipe:
                self._on(json.loads(line))
        assert self._process is not None
        code = self._process.wait()
        self._close(self._why or (f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"))

    def _on(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "ready":
            self.state = "ready"
            self.report.ready(self, event)
            self._ready.set()
        elif kind == "progress":
            self._moved = time.monotonic()
            self.report.progress(self, event["fraction"])
        elif kind == "failed":
            self._fail(Problem(event.get("code", "internal"), event["message"]))
        elif kind == "started":
            self._on_started(event)
        elif kind == "ended":
            self._on_ended(event)

    def _on_started(self, event: dict[str, Any]) -> None:
        with self._lock:
            if seat := self.seats.get(event["run"]):
                seat.said = True

    def _on_ended(self, event: dict[str, Any]) -> None:
        with self._lock:
            seat = self.seats.get(event["run"])
        if seat is None or seat.fence != event["fence"]:
            return
        end = RunEnd(
            reason=event["reason"],
            prompt_tokens=event["prompt_tokens"],
            cached_tokens=event["cached_tokens"],
            output_tokens=event["output_tokens"],
            dropped_tokens=seat.dropped + event.get("dropped_tokens", 0),
            load_ns=seat.load_ns,
            prompt_ns=event["prompt_ns"],
            eval_ns=event["eval_ns"],
            context=(*seat.prompt, *event["output_ids"]) if event.get("output_ids") is not None else (),
            stop=event.get("stop", ""),
        )
        problem = Problem.from_data(event["error"]) if event.get("error") else None
        if event["reason"] == "cancelled":
            problem = Problem("cancelled", "request canceled")
        self._ended(seat, end, problem)

    # --- ends ---------------------------------------------------------------------------------------------------

    def _ended(self, seat: Seat, end: RunEnd, problem: Problem | None) -> None:
        ours = seat.is_ours()
        if self._leave(seat) and ours:
            self.report.ended(self, seat, end, problem)

    def _leave(self, seat: Seat) -> bool:
        """False if it has left already."""
        with self._lock:
            return self.seats.get(seat.run_id) is seat and self.seats.pop(seat.run_id) is seat

    def fail(self, problem: Problem) -> None:
        """The process could not be started at all."""
        self._fail(problem)
        self._close(problem.message)

    def _fail(self, problem: Problem) -> None:
        """The load failed: everybody who waited for it is told why."""
        self._why = problem.message
        for seat in list(self.seats.values()):
            self._ended(seat, RunEnd("error"), problem)

    def _close(self, why: str) -> None:
        """The process is gone: its runs end, its threads too."""
        with self._lock:
            self.state = "gone"
            left = list(self.seats.values())
        self.report.gone(self, why)
        for seat in left:
            sentence = DIED_MIDWAY if seat.said else DIED
            self._ended(seat, RunEnd("error"), Problem("internal", sentence))
        self._inbox.put(None)
        self._ready.set()
        self.renderer.close()
        persist(self._end_login)

    def _send(self, command: dict[str, Any]) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        try:
            with self._lock:
                process.stdin.write(commands.packed(command))
                process.stdin.flush()
        except (BrokenPipeError, ValueError):
            log.info("runner_pipe_closed", replica=self.replica_id)  # the reader sees the end and tells everybody


def runner_environment() -> dict[str, str]:
    """What a runner may know: where programs are and which GPUs to use. No database, no secrets."""
    passed = {k: v for k, v in os.environ.items() if k in PASSED_ON or k.startswith(PASSED_PREFIXES)}
    return MALLOC | passed
