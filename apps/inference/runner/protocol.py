"""What the worker and the runner say to each other: JSON, one object a line, and images as they are.

In, on standard input; the first line is the load:
    {"do": "load", "replica", "model_path", "slots", "context": tokens per slot, "step_tokens", "draft_tokens",
     "options": {"num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "tensor_split"},
     "kv_type": "f16", "kv_unified": true, "flash": "auto", "redis_url", "shared_user": uid or null,
     "adapters": [{"path", "scale"}], "projectors": [path, …], of which the first is used,
     "embedding": true for a model that only embeds}
    {"do": "run", "run", "log", "fence", "tokens": […], "share_key", "public_tokens", "sampling": {…},
     "limits": {"num_predict", "num_keep", "stop", "shift", "truncate"}, "num_ctx": 0, "want_context": false,
     "reply": how to read what the model says (parsing.Reply) or null,
     "logprobs": how many alternatives beside each token, null for no logprobs at all,
     "grammar": {"kind": "json"} or {"kind": "schema", "schema"} or {"kind": "tools", "tools", "choice"} or null,
     "think_first": whether the grammar begins only behind the reply's thinking,
     "images": the sizes in bytes of files that follow the line, one behind the other; -1 stands among the tokens for
     the first of them, -2 for the second}
    {"do": "embed", "run", "log", "fence", "inputs": [[token, …], …], "dimensions": 0}
    {"do": "cancel", "run"}
    {"do": "stop"}
Out, on the events descriptor:
    {"event": "progress", "fraction"}
    {"event": "ready", "context", "slots", "memory": {"weights", "kv", "compute", "rss"}, "vram"}      sizes in bytes
    {"event": "failed", "code", "message"}                                                         and the process ends
    {"event": "started", "run", "fence"}
    {"event": "ended", "run", "fence", "reason", "error": {"code", "message"} or null, "prompt_tokens", "cached_tokens",
     "output_tokens", "dropped_tokens", "prompt_ns", "eval_ns", "output_ids": only where wanted}
"""

import json
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from apps.errors import Problem
from apps.inference.engine.engine import Ended
from apps.inference.engine.grammar import Grammar, Thinking
from apps.inference.engine.loading import Adapter, Load
from apps.inference.engine.sequence import Job
from apps.inference.parsing import Reply, markers
from apps.inference.runner.embedding import EmbedJob
from apps.inference.types import Limits, Sampling

STEP_TOKENS = 128


@dataclass(frozen=True)
class Order:
    """A run with where its frames go, and how what it says is read; `reply` None takes all of it for text."""

    job: Job | EmbedJob
    log_id: str
    fence: int
    want_context: bool = False
    reply: Reply | None = None


def order(data: dict[str, Any]) -> Order:
    """Of a "run" or an "embed"."""
    if data["do"] == "embed":
        inputs = tuple(np.asarray(tokens, dtype=np.int32) for tokens in data["inputs"])
        return Order(EmbedJob(data["run"], inputs, data.get("dimensions") or 0), data["log"], data["fence"])
    reply = Reply.from_data(data["reply"]) if data.get("reply") else None
    return Order(
        job(data, reply),
        data["log"],
        data["fence"],
        want_context=bool(data.get("want_context")),
        reply=reply if reply and not reply.plain else None,
    )


def job(data: dict[str, Any], reply: Reply | None) -> Job:
    limits = {**data.get("limits", {})}
    limits["stop"] = tuple(limits.get("stop") or ())
    return Job(
        run=data["run"],
        tokens=np.asarray(data["tokens"], dtype=np.int32),
        share_key=data.get("share_key", ""),
        public_tokens=data.get("public_tokens", 0),
        sampling=Sampling(**data.get("sampling", {})),
        limits=Limits(**limits),
        context=data.get("num_ctx") or 0,
        grammar=grammar(data, reply),
        logprobs=data.get("logprobs"),
        markers=markers(reply) if reply else (),
        images=tuple(data.get("images") or ()),
    )


def grammar(data: dict[str, Any], reply: Reply | None) -> Grammar | None:
    if not data.get("grammar"):
        return None
    thinking = None
    if data.get("think_first") and reply and reply.thinking:
        opening, closing = reply.thinking
        thinking = Thinking("" if reply.thinks_already else opening, closing)
    return Grammar.from_data(data["grammar"], thinking=thinking)


def read(commands: BinaryIO) -> Iterator[dict[str, Any]]:
    """The commands to the end of the pipe, each with the bytes of its images."""
    for line in commands:
        command = json.loads(line)
        if sizes := command.get("images"):
            command["images"] = [commands.read(size) for size in sizes]
        yield command


def load(data: dict[str, Any], *, file: int, adapters: Sequence[Adapter] = (), projector: int | None = None) -> Load:
    options = data.get("options", {})
    return Load(
        file=file,
        context=data["context"],
        slots=data["slots"],
        batch=options.get("num_batch") or Load.batch,
        threads=options.get("num_thread") or 0,
        gpu_layers=options.get("num_gpu", Load.gpu_layers),
        main_gpu=options.get("main_gpu"),
        tensor_split=tuple(options.get("tensor_split") or ()),
        mmap=options.get("use_mmap"),
        kv_type=data.get("kv_type") or Load.kv_type,
        kv_unified=data.get("kv_unified", Load.kv_unified),
        flash=data.get("flash") or Load.flash,
        adapters=tuple(adapters),
        projector=projector,
        drafts=data.get("draft_tokens", Load.drafts),
    )


def ended(order: Order, end: Ended) -> dict[str, Any]:
    event: dict[str, Any] = {
        "event": "ended",
        "run": end.run,
        "fence": order.fence,
        "reason": end.reason,
        "error": failure(end.problem) if end.problem else None,
        "prompt_tokens": end.prompt_tokens,
        "cached_tokens": end.cached_tokens,
        "output_tokens": end.output_tokens,
        "dropped_tokens": end.dropped_tokens,
        "prompt_ns": end.prompt_ns,
        "eval_ns": end.eval_ns,
    }
    if end.stop:
        event["stop"] = end.stop
    if order.want_context:
        event["output_ids"] = list(end.output_ids)
    return event


def failure(problem: Problem) -> dict[str, Any]:
    return {"code": problem.code, "message": problem.message}


class Events:
    """The way out. Any thread may send; a line is never cut in two. Without a listener there is no reason to live."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def send(self, event: dict[str, Any]) -> None:
        line = json.dumps(event, separators=(",", ":")).encode() + b"\n"
        try:
            with self._lock:
                while line:
                    line = line[os.write(self._descriptor, line) :]
        except BrokenPipeError:
            os._exit(0)
