"""kill -9 of every part in mid-stream: each run ends, with a sentence or its answer, and the next one is served."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.listening import LONG, Listener, kill, nothing_is_stuck, serves
from tests.server import Server, running, wait_for


@pytest.fixture(scope="module")
def corral(gguf_path: Path) -> Iterator[Server]:
    with running(starter=str(gguf_path)) as server:
        yield server


def test_a_killed_runner_ends_its_runs_with_a_sentence_and_the_next_is_served(corral: Server) -> None:
    listener = Listener(corral, LONG)
    kill(corral, "apps.inference.runner")
    listener.wait()
    assert "error" in listener.lines[-1] and "runner" in listener.lines[-1]["error"]
    assert wait_for(lambda: serves(corral), seconds=30)
    assert wait_for(lambda: nothing_is_stuck(corral))


def test_a_killed_worker_takes_its_runners_along_and_its_runs_end_with_a_sentence(corral: Server) -> None:
    listener = Listener(corral, LONG)
    runners = corral.pids("apps.inference.runner")
    kill(corral, "celery", "inference.")
    listener.wait()
    assert "error" in listener.lines[-1]
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in runners), seconds=10)
    assert wait_for(lambda: serves(corral), seconds=40)
    assert wait_for(lambda: nothing_is_stuck(corral))


def test_a_killed_web_process_leaves_no_run_behind(corral: Server) -> None:
    listener = Listener(corral, LONG)
    kill(corral, "uvicorn")
    listener.wait(5)
    assert listener.broken
    assert wait_for(lambda: nothing_is_stuck(corral), seconds=30)
    assert wait_for(lambda: serves(corral), seconds=30)


def test_a_killed_valkey_comes_back_and_the_stream_goes_on(corral: Server) -> None:
    listener = Listener(corral, LONG)
    kill(corral, "valkey-server")
    listener.wait(90)
    last = listener.lines[-1]
    assert last.get("done") or "error" in last
    assert wait_for(lambda: serves(corral), seconds=40)
    assert wait_for(lambda: nothing_is_stuck(corral), seconds=20)


def test_a_killed_postgres_comes_back_and_the_run_ends(corral: Server) -> None:
    body = {**LONG, "options": {"temperature": 0, "num_predict": 100}}
    listener = Listener(corral, body)
    kill(corral, "bin/postgres", "-D")
    listener.wait(60)
    assert listener.lines[-1].get("done") or "error" in listener.lines[-1]
    assert wait_for(lambda: serves(corral), seconds=40)
    assert wait_for(lambda: nothing_is_stuck(corral), seconds=20)


def test_a_killed_supervisor_leaves_nothing_that_keeps_the_next_start_from_coming_up(corral: Server) -> None:
    assert corral.process is not None
    family = corral.family()
    listener = Listener(corral, LONG)
    os.kill(corral.process.pid, signal.SIGKILL)
    corral.process.wait()
    listener.wait(30)
    corral.start(seconds=60)
    assert wait_for(lambda: serves(corral), seconds=60)
    assert wait_for(lambda: nothing_is_stuck(corral), seconds=30)
    assert not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def test_stopping_leaves_no_process(corral: Server) -> None:
    family = corral.family()
    assert len(family) >= 6
    begun = time.monotonic()
    corral.stop()
    assert time.monotonic() - begun < 30
    assert not [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
