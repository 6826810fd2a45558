"""One loaded model from its load to its end: main thread the engine's loop, one thread reads, one writes."""

import contextlib
import json
import os
import threading
import time
from typing import Any, BinaryIO

import redis

from apps.errors import Problem
from apps.inference.engine import llama
from apps.inference.engine.backend import DecodeFailed
from apps.inference.engine.lib import mtmd
from apps.inference.engine.loading import Adapter
from apps.inference.runner import desks, protocol
from apps.inference.runner.confine import confine
from apps.inference.runner.nativelog import NativeLog
from apps.inference.runner.writer import Writer
from apps.streams import log

GRACE_SECONDS = 1.0
PROGRESS_SECONDS = 0.1


class Host:
    def __init__(self, commands: BinaryIO, events: protocol.Events) -> None:
        self._commands, self._events = commands, events
        self._native = NativeLog()
        self._lock = threading.Lock()
        self._early: list[dict[str, Any]] = []  # commands that came before the engine was there
        self._engine: desks.Desks | None = None
        self._writer: Writer | None = None
        self._said = 0.0

    def run(self) -> int:
        """Serve until told to stop or until the worker is gone. The exit status."""
        config = json.loads(self._commands.readline() or b"{}")
        if config.get("do") != "load":
            return 2
        threading.Thread(target=self._listen, name="commands", daemon=True).start()
        try:
            loaded = self._load(config)
        except Problem as problem:
            self._events.send({"event": "failed", **protocol.failure(problem)})
            return 1
        return self._serve(loaded, config)

    def _load(self, config: dict[str, Any]) -> desks.Loaded:
        self._native.verbose = config.get("log_level") == "debug"
        llama.log_to(self._native.sink)
        try:
            file = _open(config["model_path"])
            adapters, again = _adapters(config), _adapters(config)  # each context reads its own
            projector = _projector(config)
            _rehearse(config["redis_url"])
            confine(config.get("shared_user"))
            return desks.load(
                protocol.load(config, file=file, adapters=adapters, projector=projector),
                again=again,
                embedding=bool(config.get("embedding")),
                step_tokens=_step_tokens(config),
                progress=self._progress,
            )
        except OSError as error:
            raise Problem("internal", f"the model's file cannot be read: {error.strerror}") from error
        except (llama.LoadFailed, DecodeFailed) as error:
            raise self._explain(error) from error

    def _explain(self, error: Exception) -> Problem:
        if self._native.out_of_memory():
            return Problem("unavailable", f"there is not enough memory to load the model: {self._native.reason()}")
        reason = self._native.reason()
        return Problem("invalid", f"{error}: {reason}" if reason else str(error))

    def _progress(self, fraction: float) -> None:
        now = time.monotonic()
        if now - self._said >= PROGRESS_SECONDS or fraction >= 1:
            self._said = now
            self._events.send({"event": "progress", "fraction": round(fraction, 3)})

    def _serve(self, loaded: desks.Loaded, config: dict[str, Any]) -> int:
        event_log = log.from_url(config["redis_url"])
        writer = Writer(event_log, events=self._events, cancel=lambda run, why: engine.cancel(run, why))
        engine = loaded.staff(step_tokens=_step_tokens(config), deliver=writer.put)
        writing = threading.Thread(target=writer.run, name="frames", daemon=True)
        writing.start()
        self._events.send(self._ready(loaded))
        with self._lock:
            self._engine, self._writer = engine, writer
            for command in self._early:
                self._obey(command)
        broken = self._loop(engine)
        writer.close()
        writing.join(GRACE_SECONDS)
        if broken:
            self._events.send({"event": "failed", **protocol.failure(broken)})
        return 1 if broken else 0

    def _loop(self, engine: desks.Desks) -> Problem | None:
        try:
            engine.run()
        except DecodeFailed as error:
            return Problem("internal", str(error))
        return None

    def _ready(self, loaded: desks.Loaded) -> dict[str, Any]:
        backend, total = loaded.model, self._native.total
        memory = {
            "weights": (total("model") or backend.weight_bytes) + loaded.projector_bytes,
            "kv": total("KV", "RS"),
            "compute": total("compute", "output"),
            "rss": _resident(),
        }
        vram = total("model", "KV", "RS", "compute", "output", on_gpu=True)
        return {"event": "ready", "context": backend.context, "slots": backend.slots, "memory": memory, "vram": vram}

    def _listen(self) -> None:
        """Obey until the pipe closes; then the worker is gone and nothing may outlive it."""
        for command in protocol.read(self._commands):
            with self._lock:
                if self._engine is None and command["do"] != "stop":
                    self._early.append(command)
                else:
                    self._obey(command)
        self._stop()

    def _obey(self, command: dict[str, Any]) -> None:
        engine, writer = self._engine, self._writer
        if command["do"] == "stop":
            self._stop()
        elif engine and writer and command["do"] == "cancel":
            engine.cancel(command["run"])
        elif engine and writer and command["do"] in ("run", "embed"):
            order = protocol.order(command)
            writer.open(order)
            engine.submit(order.job)

    def _stop(self) -> None:
        """End in good order, or without it: a step, or a load, may take longer than anybody waits."""
        if self._engine:
            self._engine.stop()
        alarm = threading.Timer(GRACE_SECONDS, os._exit, args=(0,))
        alarm.daemon = True
        alarm.start()


def _step_tokens(config: dict[str, Any]) -> int:
    return config.get("step_tokens") or protocol.STEP_TOKENS


def _adapters(config: dict[str, Any]) -> tuple[Adapter, ...]:
    return tuple(Adapter(_open(each["path"]), each.get("scale", 1.0)) for each in config.get("adapters") or ())


def _projector(config: dict[str, Any]) -> int | None:
    """Its library is loaded here: once confined, the process may be unable to."""
    paths = config.get("projectors")
    if not paths:
        return None
    mtmd()
    return _open(paths[0])


def _open(path: str) -> int:
    """A descriptor of a file that may be out of reach later."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _rehearse(redis_url: str) -> None:
    """Asks the log server once, in vain or not: what Python imports for it late, it could not read once confined."""
    with contextlib.suppress(redis.exceptions.RedisError):
        log.from_url(redis_url).append_many([("rehearsal", 0, [])])


def _resident() -> int:
    """Bytes of memory this process holds, the mapped file included."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
