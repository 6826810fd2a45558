"""A runner process as a worker sees it, with real logs in the real Valkey."""

import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from apps.inference.engine.vocabulary import Vocabulary
from apps.streams import log as event_log

Event = dict[str, Any]
_numbers = itertools.count(1)


class Runner:
    """One process, its commands and its events. `tokens` are those of a text under the model's vocabulary."""

    def __init__(self) -> None:
        reading, writing = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "apps.inference.runner", "--events-fd", str(writing)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=[writing],
        )
        os.close(writing)
        self.events: queue.Queue[Event | None] = queue.Queue()
        self.log = event_log.from_url(settings.REDIS_URL)
        self._thread = threading.Thread(target=self._read, args=(reading,), daemon=True)
        self._thread.start()

    def _read(self, descriptor: int) -> None:
        with os.fdopen(descriptor, "rb") as pipe:
            for line in pipe:
                self.events.put(json.loads(line))
        self.events.put(None)

    def send(self, command: dict[str, Any]) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()

    def load(self, model: Path, **more: Any) -> None:
        base = {"do": "load", "replica": "r", "model_path": str(model), "slots": 2, "context": 512, "step_tokens": 64}
        self.send({**base, "options": {}, "redis_url": settings.REDIS_URL, "shared_user": None, **more})

    def start(self, tokens: list[int], *, fence: int = 1, **more: Any) -> str:
        """A run with a log of its own, owned by the runner; its id."""
        run = f"test-{os.getpid()}-{next(_numbers)}"
        self.log.create(run, owner=None, ttl=60)
        assert self.log.claim(run, fence)
        sampling = {"temperature": 0, **more.pop("sampling", {})}
        command = {"do": "run", "run": run, "log": run, "fence": fence, "tokens": tokens, "share_key": "u"}
        self.send({**command, "sampling": sampling, "limits": {"num_predict": 8}, **more})
        return run

    def wait(self, kind: str, run: str | None = None, *, seconds: float = 20) -> Event:
        """The next such event; others on the way are let drop."""
        deadline = time.monotonic() + seconds
        while (event := self.events.get(timeout=max(0.01, deadline - time.monotonic()))) is not None:
            if event["event"] == kind and run in (None, event.get("run")):
                return event
        raise AssertionError(f"the runner ended before it said {kind!r}")

    def gone(self, *, seconds: float = 10) -> int:
        """Wait for the end of the process and of its events; its exit status."""
        code = self.process.wait(seconds)
        self._thread.join(seconds)
        return code

    def text(self, run: str) -> str:
        return "".join(entry.data["t"] for entry in self.log.entries(run))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._thread.join()
        if self.process.stdin:
            self.process.stdin.close()
        self.log.close()


MakeRunner = Callable[[], Runner]
Tokenise = Callable[[str], list[int]]


@pytest.fixture
def make_runner(services: None) -> Iterator[MakeRunner]:
    made: list[Runner] = []

    def make() -> Runner:
        made.append(Runner())
        return made[-1]

    yield make
    for runner in made:
        runner.close()


@pytest.fixture(scope="module")
def loaded(services: None, gguf_path: Path) -> Iterator[Runner]:
    """A runner that has loaded the real model, for tests that leave it alive."""
    runner = Runner()
    runner.load(gguf_path)
    ready = runner.wait("ready", seconds=60)
    assert (ready["slots"], ready["context"]) == (2, 512)
    yield runner
    runner.close()


@pytest.fixture(scope="session")
def tokenise(gguf_path: Path) -> Iterator[Tokenise]:
    vocabulary = Vocabulary(str(gguf_path))
    yield lambda text: vocabulary.tokenize(text, add_special=True, parse_special=True)
    vocabulary.close()
