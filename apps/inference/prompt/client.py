"""The worker's side of prompt building: one render child a model, restarted whenever it fails. No Django."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import structlog

from apps.errors import Problem
from apps.inference.prompt.job import Prompt, PromptJob
from apps.inference.prompt.process import Child, ChildDied, ChildSilent

MAX_CHARACTERS = 5 * 1024 * 1024  # of a job: what a million tokens hold; more would need too much memory to tokenise
_START_SECONDS = 75.0
_GRACE_SECONDS = 1.0  # the child says itself that its time is up; after this it is killed
_ENDED = "The process that prepares this model's prompts ended unexpectedly. This prompt may be too much for it."

log = structlog.get_logger(__name__)


class Renderer:
    """Turns jobs into prompts for one model. Thread-safe: one job at a time, the others wait their turn.

    `deadline` is in seconds, for one job. A job that fails, hangs or kills the child harms no other.
    """

    def __init__(self, *, model_path: str, deadline: float = 10.0) -> None:
        self._path = model_path
        self._deadline = deadline
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._greeted = False
        self._closed = False

    def start(self) -> None:
        """Begin to load the vocabulary, without waiting for it. May be called at any time."""
        if self._lock.acquire(blocking=False):  # else it is in use, so it runs
            try:
                self._present()
            finally:
                self._lock.release()

    def ready(self) -> bool:
        """Whether a job would be answered at once. Never waits. Raises Problem if the vocabulary cannot be loaded."""
        if not self._lock.acquire(blocking=False):
            return self._greeted
        try:
            if self._child is None:
                return False
            self._greet(self._child, seconds=0.0)
        except ChildSilent:
            return False
        except ChildDied:
            self._discard()
            return False
        finally:
            self._lock.release()
        return True

    def render(self, job: PromptJob, *, meanwhile: Callable[[], None] = lambda: None) -> Prompt:
        """Raises Problem: 4xx for the request's fault, 500 for the template's or the child's; or what `meanwhile` does.
        That is called while the child is at work, maybe twice.
        """
        if job.characters > MAX_CHARACTERS:
            raise Problem("too_large", f"the messages hold more than {MAX_CHARACTERS} characters")
        line = json.dumps({"deadline": self._deadline, "job": job.as_data()}).encode() + b"\n"
        with self._turn():
            answer = self._ask(line, meanwhile)
        if "problem" in answer:
            raise Problem.from_data(answer["problem"])
        return Prompt.from_data(answer["prompt"])

    def close(self) -> None:
        """End the child, also under a job that is being rendered. May be called twice."""
        self._closed = True
        child = self._child
        if child is not None:
            child.kill()
        with self._lock:
            self._discard()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=_START_SECONDS + 2 * self._deadline):
            raise Problem("unavailable", "Other prompts of this model keep its template busy.")
        try:
            yield
        finally:
            self._lock.release()

    def _ask(self, line: bytes, meanwhile: Callable[[], None]) -> dict[str, Any]:
        """A child that dies may have been killed from outside, so its job gets one more."""
        try:
            return self._exchange(line, meanwhile)
        except ChildDied:
            self._discard()
        try:
            return self._exchange(line, meanwhile)
        except ChildDied as error:
            self._discard()
            raise Problem("internal", _ENDED) from error

    def _exchange(self, line: bytes, meanwhile: Callable[[], None]) -> dict[str, Any]:
        child = self._present()
        try:
            self._greet(child, seconds=_START_SECONDS)
            until = time.monotonic() + self._deadline + _GRACE_SECONDS
            child.send(line, until=until)
            began = time.monotonic()
            try:
                meanwhile()
            finally:  # an answer that nobody read must not meet the next job
                until += time.monotonic() - began  # that was not the child's time
                answer = _read(child.receive(until=until))
        except ChildSilent as error:
            self._restart()
            text = f"Preparing the prompt took longer than {self._deadline:g} seconds."
            raise Problem("invalid", text, status=500) from error
        if answer.get("last"):
            self._restart()
        return answer

    def _present(self) -> Child:
        if self._closed:
            raise Problem("unavailable", "The model is being unloaded.")
        if self._child is not None and not self._child.alive():
            self._discard()
        if self._child is None:
            self._child = Child(self._path)
        return self._child

    def _greet(self, child: Child, *, seconds: float) -> None:
        if self._greeted:
            return
        said = json.loads(child.receive(until=time.monotonic() + seconds))
        if "error" in said:
            self._discard()
            raise Problem("internal", f"The model's prompts cannot be prepared: {said['error']}.")
        self._greeted = True

    def _restart(self) -> None:
        """The next job should not wait for all of the vocabulary's loading."""
        self._discard()
        if not self._closed:
            self._present()

    def _discard(self) -> None:
        child, self._child, self._greeted = self._child, None, False
        if child is not None:
            log.info("render child ended", pid=child.pid, status=child.end())


def _read(line: bytes) -> dict[str, Any]:
    """orjson reads thousands of tokens in a third of json's time, but not what is no Unicode."""
    try:
        answer: dict[str, Any] = orjson.loads(line)
    except orjson.JSONDecodeError:
        answer = json.loads(line)
    return answer
