"""Frames on their way to the logs, while the server comes and goes."""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from django.conf import settings

from apps.errors import Problem
from apps.inference.engine.engine import Ended, Event, Started, Text
from apps.inference.engine.sequence import Job
from apps.inference.parsing import Reply
from apps.inference.runner import writer as writing
from apps.inference.runner.embedding import Vectors
from apps.inference.runner.protocol import Events, Order
from apps.inference.runner.writer import Pace, Writer
from apps.streams import log as event_log


class Cable:
    """A way to the server that can be pulled out and put back."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = parts.path if parts.scheme == "unix" else (parts.hostname or "", parts.port or 6379)
        self._ends: list[socket.socket] = []
        self.plugged = True
        self._listener = socket.create_server(("127.0.0.1", 0))
        login = parts.netloc.rpartition("@")[0]
        self.url = f"redis://{login}@127.0.0.1:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def _connect(self) -> socket.socket:
        if isinstance(self._server, tuple):
            return socket.create_connection(self._server)
        far = socket.socket(socket.AF_UNIX)
        far.connect(self._server)
        return far

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self.plugged:
                near.close()
                continue
            far = self._connect()
            self._ends += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            return  # the cable was pulled

    def pull(self) -> None:
        self.plugged = False
        for end in self._ends:
            with suppress(OSError):  # it may have hung up by itself
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.pull()
        for end in (self._listener, *self._ends):
            end.close()


class Desk:
    """A writer at work, the events it sends and the cancels it asks for."""

    def __init__(self, url: str) -> None:
        self._reading, descriptor = os.pipe()
        self._descriptor = descriptor
        self.cancels: list[tuple[str, Problem | None]] = []
        self._log = event_log.from_url(url)
        self.writer = Writer(self._log, events=Events(descriptor), cancel=self._cancel)
        self._thread = threading.Thread(target=self.writer.run, daemon=True)
        self._thread.start()

    def _cancel(self, run: str, problem: Problem | None) -> None:
        self.cancels.append((run, problem))

    def open(self, run: str, reply: Reply | None = None) -> None:
        job = Job(run=run, tokens=np.zeros(1, dtype=np.int32), share_key="")
        self.writer.open(Order(job, log_id=run, fence=1, reply=reply))

    def put(self, *events: Event) -> None:
        self.writer.put(list(events))

    def finish(self) -> list[dict[str, Any]]:
        """Let everything be delivered; the events."""
        self.writer.close()
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._log.close()
        os.close(self._descriptor)
        with os.fdopen(self._reading, "rb") as pipe:
            return [json.loads(line) for line in pipe]


CALL = '<tool_call>{"name": "now", "arguments": {"zone": "UTC"}}</tool_call>'
HERMES = Reply("hermes", ("now",), thinking=("<think>", "</think>"))


def ended(run: str) -> Ended:
    return Ended(run, "stop", None, 1, 0, 1, 0, 1, 1, ())


@pytest.fixture
def log(services: None) -> Iterator[event_log.EventLog]:
    log = event_log.from_url(settings.REDIS_URL)
    yield log
    log.close()


@pytest.fixture
def cable(services: None) -> Iterator[Cable]:
    cable = Cable(settings.REDIS_URL)
    yield cable
    cable.close()


def make_log(log: event_log.EventLog, name: str) -> str:
    run = f"writer-{name}-{os.getpid()}"
    log.create(run, owner=None, ttl=60)
    assert log.claim(run, 1)
    return run


def texts(log: event_log.EventLog, run: str) -> list[str]:
    return [entry.data["t"] for entry in log.entries(run)]


def wait_until(what: Any, *, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


def test_the_end_is_told_after_the_last_frame(log: event_log.EventLog) -> None:
    run, desk = make_log(log, "end"), Desk(settings.REDIS_URL)
    desk.open(run)
    desk.put(Started(run), Text(run, "a"), Text(run, "b"))
    desk.put(Text(run, "c"), ended(run))
    assert [event["event"] for event in desk.finish()] == ["started", "ended"]
    assert "".join(texts(log, run)) == "abc"


def test_one_step_is_one_frame(log: event_log.EventLog) -> None:
    run, desk = make_log(log, "step"), Desk(settings.REDIS_URL)
    desk.open(run)
    desk.put(Text(run, "a"), Text(run, "b"), ended(run))
    desk.finish()
    assert texts(log, run) == ["ab"]


def test_the_first_words_of_a_run_are_written_before_the_next_step(
    log: event_log.EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "WRITE_SECONDS", 10)
    desk = Desk(settings.REDIS_URL)
    for run in (make_log(log, "first"), make_log(log, "second")):
        desk.open(run)
        desk.put(Started(run), Text(run, "a"))
        assert texts(log, run) == ["a"]
        desk.put(ended(run))
    desk.finish()


def test_a_stream_is_not_held_up_for_the_first_words_of_another(
    log: event_log.EventLog, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "WRITE_SECONDS", 60)
    runs, desk = [make_log(log, "speaking"), make_log(log, "beginning")], Desk(cable.url)
    for run in runs:
        desk.open(run)
    desk.put(Text(runs[0], "a"))
    cable.pull()
    begun = time.monotonic()
    desk.put(Text(runs[0], "b"), Text(runs[1], "a"))
    assert time.monotonic() - begun < 10
    cable.plugged = True
    desk.put(*map(ended, runs))
    desk.finish()
    assert ["".join(texts(log, run)) for run in runs] == ["ab", "a"]


def test_steps_quicker_than_an_eye_are_written_together(
    log: event_log.EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "PACE_SECONDS", 30)
    monkeypatch.setattr(writing, "POLL_SECONDS", 60)
    runs, desk = [make_log(log, "quick"), make_log(log, "joining")], Desk(settings.REDIS_URL)
    for run in runs:
        desk.open(run)
    desk.put(Started(runs[0]), Text(runs[0], "a"))
    wait_until(lambda: texts(log, runs[0]) == ["a"])
    for letter in "bcd":
        desk.put(Text(runs[0], letter))
    assert texts(log, runs[0]) == ["a"]
    desk.put(Started(runs[1]), Text(runs[1], "A"))  # first words take along what waits
    wait_until(lambda: texts(log, runs[1]) == ["A"])
    assert texts(log, runs[0]) == ["a", "bcd"]
    desk.put(Text(runs[0], "e"))
    desk.put(Text(runs[0], "f"), ended(runs[0]))
    wait_until(lambda: texts(log, runs[0]) == ["a", "bcd", "ef"])
    desk.put(ended(runs[1]))
    desk.finish()


def test_text_waits_for_more_no_longer_than_the_pace(log: event_log.EventLog) -> None:
    run, desk = make_log(log, "paced"), Desk(settings.REDIS_URL)
    desk.open(run)
    for letter in "abc":
        desk.put(Text(run, letter))
    wait_until(lambda: "".join(texts(log, run)) == "abc")  # although no step follows
    desk.put(ended(run))
    desk.finish()


def test_steps_slower_than_the_pace_are_written_at_once() -> None:
    pace = Pace()
    for at in (10.0, 10.05, 10.10, 10.15):
        pace.step(at, urgent=False)
        assert pace.write(at)


def test_quick_steps_are_written_when_the_next_would_come_too_late() -> None:
    pace, written = Pace(), []
    for at in (10.0, 10.017, 10.034, 10.051, 10.068):
        pace.step(at, urgent=False)
        if pace.write(at):
            written.append(at)
    assert written == [10.0, 10.034, 10.068]


def test_what_is_urgent_stays_so_until_it_is_written() -> None:
    pace = Pace()
    assert pace.write(10.0)
    pace.step(10.001, urgent=True)
    pace.step(10.002, urgent=False)
    assert pace.write(10.002)
    pace.step(10.003, urgent=False)
    assert not pace.write(10.003)


def test_nothing_but_first_words_is_waited_for(
    log: event_log.EventLog, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "WRITE_SECONDS", 60)
    run, desk = make_log(log, "later"), Desk(cable.url)
    desk.open(run)
    desk.put(Text(run, "a"))
    cable.pull()
    begun = time.monotonic()
    for _ in range(20):
        desk.put(Text(run, "b"))
    assert time.monotonic() - begun < 10
    cable.plugged = True
    desk.put(ended(run))
    desk.finish()
    assert "".join(texts(log, run)) == "a" + 20 * "b"


def test_a_cancel_is_noticed_without_a_frame(log: event_log.EventLog) -> None:
    run, desk = make_log(log, "cancel"), Desk(settings.REDIS_URL)
    desk.open(run)
    log.cancel(run)
    wait_until(lambda: desk.cancels)
    assert desk.cancels[0] == (run, None)
    desk.put(ended(run))
    desk.finish()


def test_nothing_is_lost_or_doubled_while_the_server_is_away(log: event_log.EventLog, cable: Cable) -> None:
    run, desk = make_log(log, "away"), Desk(cable.url)
    desk.open(run)
    desk.put(Text(run, "0 "))
    wait_until(lambda: texts(log, run))
    for number in range(1, 30):
        desk.put(Text(run, f"{number} "))
        if number == 10:
            cable.pull()
        if number == 20:
            cable.plugged = True
        time.sleep(0.02)
    desk.put(ended(run))
    assert desk.finish()[-1]["event"] == "ended"
    assert "".join(texts(log, run)) == "".join(f"{number} " for number in range(30))


def test_a_call_is_a_frame_between_the_texts(log: event_log.EventLog) -> None:
    run, desk = make_log(log, "call"), Desk(settings.REDIS_URL)
    desk.open(run, HERMES)
    desk.put(*(Text(run, letter) for letter in f"<think>hm</think>So: {CALL} there"))
    desk.put(ended(run))
    desk.finish()
    entries = log.entries(run)
    assert [entry.kind for entry in entries] == ["thinking", "text", "tool_calls", "text"]
    assert [entries[at].data["t"] for at in (0, 1, 3)] == ["hm", "So: ", " there"]
    assert [(call["name"], call["arguments"]) for call in entries[2].data["calls"]] == [("now", {"zone": "UTC"})]


def test_a_call_that_is_cut_off_comes_as_text_before_the_end(log: event_log.EventLog) -> None:
    run, desk = make_log(log, "cut"), Desk(settings.REDIS_URL)
    desk.open(run, HERMES)
    desk.put(Text(run, CALL[:-20]), ended(run))
    assert desk.finish()[-1]["event"] == "ended"
    assert texts(log, run) == [CALL[:-20]]


def test_vectors_are_frames(log: event_log.EventLog) -> None:
    run, desk = make_log(log, "vectors"), Desk(settings.REDIS_URL)
    desk.open(run)
    desk.put(Started(run), Vectors(run, [[1.0, 0.0]]), ended(run))
    desk.finish()
    assert [(entry.kind, entry.data) for entry in log.entries(run)] == [("embeddings", {"vectors": ["[1.0,0.0]"]})]


def test_no_call_is_lost_or_doubled_while_the_server_is_away(log: event_log.EventLog, cable: Cable) -> None:
    run, desk = make_log(log, "away-calls"), Desk(cable.url)
    desk.open(run, HERMES)
    for number in range(20):
        desk.put(Text(run, f"{number}<tool"), Text(run, CALL.removeprefix("<tool")))
        if number == 5:
            cable.pull()
        if number == 15:
            cable.plugged = True
        time.sleep(0.02)
    desk.put(ended(run))
    assert desk.finish()[-1]["event"] == "ended"
    entries = log.entries(run)
    assert "".join(entry.data.get("t", "|") for entry in entries) == "|".join(map(str, range(20))) + "|"
    ids = [call["id"] for entry in entries for call in entry.data.get("calls", ())]
    assert len(set(ids)) == len(ids) == 20


def test_a_run_that_nobody_takes_ends_before_it_fills_the_memory(
    log: event_log.EventLog, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "HOLD_CHARACTERS", 1000)
    run, desk = make_log(log, "full"), Desk(cable.url)
    cable.pull()
    desk.open(run)
    desk.put(Text(run, "x" * 1001))
    wait_until(lambda: desk.cancels)
    problem = desk.cancels[0][1]
    assert problem and problem.code == "unavailable"
    desk.put(ended(run))
    assert desk.finish()[-1]["event"] == "ended"
