"""The inference worker's own mind: which replicas it hosts, its heartbeat, and what it reports.

The rows say what should be; `reconcile` makes it so. Celery's tasks only knock: a run is put into its host's inbox,
a reconcile sets an event. The spawner thread starts and stops every child, and lives as long as the process.
"""

import functools
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import threading
import uuid
from datetime import UTC, datetime
from typing import Any

import psutil
import structlog
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from apps.errors import Problem
from apps.inference import endings, placement
from apps.inference.clerk import AWAY, Clerk
from apps.inference.host import Host, Seat
from apps.inference.layers import EMBEDS_ONLY, LAYERS
from apps.inference.models import HEARTBEAT_SECONDS, Replica, ReplicaState, Run, RunState, Worker
from apps.inference.publishing import publish
from apps.inference.types import PROGRESS, RunEnd
from apps.registry import blobs
from apps.streams import log as event_log

log = structlog.get_logger(__name__)
FLASH = {"0": "off", "false": "off", "1": "on", "true": "on"}  # as Ollama spells it
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LOOK_SECONDS = 5.0  # between two looks at the rows when nobody knocks
CPU_SHARE = 0.9  # of the memory that is free when the worker starts


class Agent:
    def __init__(self, name: str) -> None:
        self.name = name
        self.incarnation = uuid.uuid4()
        self.hosts: dict[str, Host] = {}
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._taking: set[tuple[str, int]] = set()
        self._clerk = Clerk("clerk")
        self._told: list[str] = []  # runs whose last entry is written, which their rows do not say yet; the clerk's own
        self._worker_id = 0

    # --- life -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Takes the worker's row, ends what an earlier incarnation left, and begins to beat."""
        devices = probe_devices()
        with transaction.atomic():
            placement.lock()
            worker, _ = Worker.objects.update_or_create(
                name=self.name,
                defaults={
                    "incarnation": self.incarnation,
                    "host": socket.gethostname(),
                    "devices": devices,
                    "memory_bytes": capacity(devices),
                    "started_at": timezone.now(),
                    "heartbeat_at": timezone.now(),
                },
            )
            left = list(Run.objects.active().filter(replica__worker=worker))
            placement.mark_gone(worker.replicas.present(), why="its worker was restarted")
        self._worker_id = worker.pk
        endings.reap(left)
        for target in (self._spawn_forever, self._beat_forever):
            threading.Thread(target=target, name=target.__name__, daemon=True).start()
        self._clerk.later(admit)
        log.info("worker_started", worker=self.name, memory_bytes=worker.memory_bytes, devices=len(devices))

    def stop(self) -> None:
        """Ends every runner; what they report is still written down."""
        self._stopping.set()
        self._wake.set()
        for host in list(self.hosts.values()):
            host.stop()
        self._clerk.later(self._note_told)
        self._clerk.later(self._write_stopped)
        self._clerk.close(timeout=5)

    def _write_stopped(self) -> None:
        """Says that this worker is dead at once, instead of by the silence of its heart."""
        Worker.objects.filter(pk=self._worker_id, incarnation=self.incarnation).update(heartbeat_at=EPOCH)

    # --- doors ------------------------------------------------------------------------------------------------

    def take(self, run_id: str, attempt: int) -> None:
        """A run that was admitted to one of our replicas. A message of an older attempt is let drop, and so is one that
        comes twice."""
        with self._lock:
            if (run_id, attempt) in self._taking:
                log.info("run_taken_already", run=run_id, attempt=attempt)
                return
            self._taking.add((run_id, attempt))
        try:
            self._take(run_id, attempt)
        finally:
            self._taking.discard((run_id, attempt))

    def _take(self, run_id: str, attempt: int) -> None:
        """The run's host prepares the prompt while its row is written and its log claimed."""
        run = Run.objects.handed_over(run_id, attempt=attempt)
        if run is None:
            log.info("run_not_ours", run=run_id, attempt=attempt)
            return
        host, seat = self._host_of(run), seat_of(run)
        seated = host is not None and host.take(seat)
        try:
            begun = Run.objects.begin(run_id, attempt=attempt)
        except BaseException as error:
            seat.settle(ours=False)
            if isinstance(error, AWAY):
                self._clerk.later(functools.partial(Run.objects.give_back, run_id, attempt=attempt))
            raise
        if not begun:
            seat.settle(ours=False)
            return
        try:
            self._own(run, seat, seated)
        except AWAY as error:  # the row says running, so nobody else will take it: it is ours when they are back
            log.warning("database_away", error=str(error).strip())
            self._clerk.later(functools.partial(self._own, run, seat, seated))

    def _host_of(self, run: Run) -> Host | None:
        host = self.hosts.get(str(run.replica_id))
        if host is None and run.replica is not None and run.replica.worker_id == self._worker_id:
            host = self.host_for(run.replica)
        return host

    def _own(self, run: Run, seat: Seat, seated: bool) -> None:
        """Claims the run's log, and lets its host go on. A run without log or host ends with a sentence."""
        try:
            claimed = event_log.default().claim(run.log_id, run.fence)
        except BaseException as error:
            if not isinstance(error, AWAY):  # those are repeated
                seat.settle(ours=False)
            raise
        seat.settle(ours=claimed and seated)
        if not claimed:
            self._clerk.later(functools.partial(endings.lose, run, Problem("internal", "the log of this run is gone")))
        elif not seated:
            self._clerk.later(functools.partial(endings.lose, run, Problem("internal", endings.DIED)))

    def reconcile(self) -> None:
        self._wake.set()

    def host_for(self, replica: Replica) -> Host:
        with self._lock:
            host = self.hosts.get(str(replica.pk))
            if host is None:
                host = Host(str(replica.pk), _load_command(replica), self)
                self.hosts[host.replica_id] = host
                self._wake.set()
            return host

    # --- the spawner ------------------------------------------------------------------------------------------

    def _spawn_forever(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()
            try:
                self._make_it_so()
            except AWAY as error:
                log.warning("database_away", error=str(error).strip())
            except Exception:
                log.exception("reconcile_failed")
            finally:
                connection.close()

    def _make_it_so(self) -> None:
        """Stops what is to be unloaded first, since what is to be loaded may need its memory."""
        rows = {str(replica.pk): replica for replica in Replica.objects.present().filter(worker=self._worker_id)}
        for replica_id, host in list(self.hosts.items()):
            row = rows.get(replica_id)
            if row is None or row.state == ReplicaState.UNLOADING:
                self._stop(host)
        for replica in rows.values():
            if replica.state == ReplicaState.UNLOADING and str(replica.pk) not in self.hosts:
                self._clerk.later(functools.partial(self._write_gone, str(replica.pk), "unloaded before it was loaded"))
            elif replica.state == ReplicaState.LOADING:
                self.host_for(replica)
        for host in list(self.hosts.values()):
            if host.state == "new" and not self._stopping.is_set():
                self._spawn(host)

    def _spawn(self, host: Host) -> None:
        log.info("replica_loading", replica=host.replica_id, model=host.load["model"])
        try:
            host.spawn()
        except OSError as error:
            log.error("runner_not_started", replica=host.replica_id, error=str(error))
            host.fail(Problem("internal", f"the model runner could not be started: {error}"))

    def _stop(self, host: Host) -> None:
        log.info("replica_unloading", replica=host.replica_id, model=host.load["model"])
        host.stop()

    # --- the heartbeat ----------------------------------------------------------------------------------------

    def _beat_forever(self) -> None:
        while not self._stopping.wait(HEARTBEAT_SECONDS):
            try:
                self._beat()
            except AWAY as error:
                log.warning("database_away", error=str(error).strip())
            except Exception:
                log.exception("heartbeat_failed")
            finally:
                connection.close()

    def _beat(self) -> None:
        rows = Worker.objects.filter(pk=self._worker_id, incarnation=self.incarnation)
        if not rows.update(heartbeat_at=timezone.now()):
            log.error("worker_replaced", worker=self.name)
            os.kill(os.getpid(), signal.SIGTERM)  # another process took this name: two must never host the same rows
            return
        if self._told:
            self._clerk.later(self._note_told)
        for host in list(self.hosts.values()):
            host.check_load(patience=settings.LOAD_TIMEOUT_SECONDS)
            host.renew_login()
            self._drop_cancelled(host)

    def _drop_cancelled(self, host: Host) -> None:
        """Cancels that the runner cannot see, of runs that still wait for the load."""
        for seat in host.waiting():
            if event_log.default().cancelled(seat.log_id):
                host.cancel(seat.run_id)

    # --- what hosts report ------------------------------------------------------------------------------------

    def ready(self, host: Host, event: dict[str, Any]) -> None:
        memory = event.get("memory") or {}
        log.info("replica_ready", replica=host.replica_id, model=host.load["model"], memory=memory)
        used = sum(int(memory.get(part) or 0) for part in ("weights", "kv", "compute"))
        changes = {
            "state": ReplicaState.READY,
            "ready_at": timezone.now(),
            "used_bytes": used,
            "vram_bytes": int(event.get("vram") or 0),
        }
        self._clerk.later(functools.partial(self._write_ready, host.replica_id, changes))

    def _write_ready(self, replica_id: str, changes: dict[str, Any]) -> None:
        Replica.objects.filter(pk=replica_id, state=ReplicaState.LOADING).update(**changes)
        admit()

    def progress(self, host: Host, fraction: float) -> None:
        for seat in host.waiting():
            work = functools.partial(self._write_progress, seat.log_id, seat.fence, fraction)
            self._clerk.later(work)

    def _write_progress(self, log_id: str, fence: int, fraction: float) -> None:
        _append(log_id, fence, PROGRESS, {"stage": "loading", "fraction": round(fraction, 3)})

    def note(self, seat: Seat, kind: str, data: dict[str, Any]) -> None:
        """A frame that must be in the log before what comes next."""
        _append(seat.log_id, seat.fence, kind, data)

    def ended(self, host: Host, seat: Seat, end: RunEnd, problem: Problem | None) -> None:
        finish = functools.partial(endings.finish, seat.run_id, attempt=seat.attempt, end=end, problem=problem)
        self._clerk.later(finish)
        self._clerk.later(functools.partial(self._tell, seat, end, problem))

    def _tell(self, seat: Seat, end: RunEnd, problem: Problem | None) -> None:
        endings.tell(seat.run_id, fence=seat.fence, end=end, problem=problem)
        self._told.append(seat.run_id)

    def _note_told(self) -> None:
        """With every heartbeat for all runs at once: it is only for upkeep, and no request should wait for it."""
        endings.note_told(self._told)
        self._told.clear()

    def gone(self, host: Host, why: str) -> None:
        log.info("replica_gone", replica=host.replica_id, model=host.load["model"], why=why)
        with self._lock:
            self.hosts.pop(host.replica_id, None)
        self._clerk.later(functools.partial(self._write_gone, host.replica_id, why))

    def _write_gone(self, replica_id: str, why: str) -> None:
        with transaction.atomic():
            placement.lock()
            placement.mark_gone(Replica.objects.filter(pk=replica_id), why=why)
            left = list(Run.objects.filter(replica_id=replica_id, state=RunState.ADMITTED))
        endings.reap(left)
        admit()
        self._wake.set()


def _append(log_id: str, fence: int, kind: str, data: dict[str, Any]) -> None:
    try:
        event_log.default().append(log_id, fence, [(kind, data)])
    except event_log.FencedError:
        log.info("frame_refused", log=log_id, kind=kind)


def admit() -> None:
    with transaction.atomic():
        placement.lock()
        outcome = placement.admit()
    publish(outcome)


def seat_of(run: Run) -> Seat:
    return Seat(
        run_id=str(run.pk),
        attempt=run.attempt,
        fence=run.fence,
        kind=run.kind,
        arrived_ns=int(run.created_at.timestamp() * 1e9),
        payload=json.loads(run.request or "{}"),
        user_id=run.user_id,
        context=run.context,
    )


def _load_command(replica: Replica) -> dict[str, Any]:
    """The runner's configuration: the replica's row with this server's defaults."""
    chosen = dict(replica.options)
    layers = {name: [str(blobs.path(digest)) for digest in chosen.pop(name, "").split()] for name in LAYERS}
    embedding = bool(chosen.pop(EMBEDS_ONLY, False))
    options = {
        "num_batch": _usual_batch(replica.worker),
        "num_gpu": -1,
        "main_gpu": None,
        "use_mmap": None,
        "num_thread": settings.THREADS or free_cores(),
        "tensor_split": [],
        **chosen,
    }
    return {
        "replica": str(replica.pk),
        "model": replica.model,
        "model_path": str(blobs.path(replica.weights_blob)),
        "adapters": [{"path": path, "scale": 1.0} for path in layers["adapters"]],
        "projectors": layers["projectors"],
        "embedding": embedding,
        "slots": replica.slots,
        "context": replica.context,
        "step_tokens": settings.STEP_TOKENS,
        "draft_tokens": settings.DRAFT_TOKENS,
        "options": options,
        "kv_type": settings.KV_CACHE_TYPE,
        "kv_unified": settings.KV_UNIFIED,
        "flash": FLASH.get(settings.FLASH_ATTENTION, settings.FLASH_ATTENTION),
        "shared_user": pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None,
        "log_level": settings.LOG_LEVEL,
    }


def _usual_batch(worker: Worker) -> int:
    """Tokens computed at once where nobody asks for a number and no stream runs. For a prompt on a CPU 512 are a
    hundredth faster than half of that, reserve 34 MB more for the starter model, and let whoever comes meanwhile wait
    twice as long; for embeddings they are slower, as each text is compared with all the others of its batch."""
    return 512 if any(device["type"] == "gpu" for device in worker.devices) else 256


def free_cores() -> int:
    """The processors that this process may use (macOS does not say: all of them there)."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def probe_devices() -> list[dict[str, Any]]:
    """Every ggml device with its memory, asked in a process of its own: a GPU driver's state stays out of this one."""
    done = subprocess.run(
        [sys.executable, "-m", "apps.inference.engine.devices"], capture_output=True, text=True, check=True, timeout=60
    )
    devices: list[dict[str, Any]] = json.loads(done.stdout)
    return devices


def capacity(devices: list[dict[str, Any]]) -> int:
    """Bytes that replicas may use here: the GPUs' memory where there are any, else a share of what is free."""
    on_gpu = sum(int(device["memory_total"]) for device in devices if device["type"] == "gpu")
    return int(CPU_SHARE * (on_gpu or psutil.virtual_memory().available))
