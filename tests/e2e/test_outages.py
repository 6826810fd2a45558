"""Valkey or Postgres away for half a minute in mid-stream, dead or hung: each run ends soon after, none is stuck."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.listening import LONG, Listener, kill, nothing_is_stuck, serves
from tests.server import Server, running, wait_for

OUTAGE = 30.0  # seconds
BOUND = 10.0 + 5.0  # seconds until every run has ended: 5 for the server's own start
VALKEY, POSTGRES = ("valkey-server",), ("bin/postgres", "-D")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def corral(gguf_path: Path) -> Iterator[Server]:
    with running(starter=str(gguf_path)) as server:
        yield server


@contextmanager
def dead(server: Server, *marks: str) -> Iterator[None]:
    """The supervisor is held still meanwhile, or it would start another one at once."""
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        kill(server, *marks)
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


@contextmanager
def hung(server: Server, *marks: str) -> Iterator[None]:
    """It answers nobody; its connections stay open."""
    pids = (
        server.pids(*marks) if marks is VALKEY else [process.pid for process in server.family() if is_postgres(process)]
    )
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def is_postgres(process: psutil.Process) -> bool:
    try:
        return process.name() == "postgres"
    except psutil.Error:
        return False


@pytest.mark.parametrize("away", [dead, hung])
@pytest.mark.parametrize("marks", [VALKEY, POSTGRES], ids=["valkey", "postgres"])
def test_half_a_minute_without_it_ends_in_an_end_for_everybody(
    corral: Server, away: Callable[..., AbstractContextManager[None]], marks: tuple[str, ...]
) -> None:
    listener = Listener(corral, LONG)
    with away(corral, *marks):
        time.sleep(OUTAGE)
    listener.wait(BOUND)
    assert not listener.broken
    assert listener.lines[-1].get("done") or listener.lines[-1]["error"]
    assert wait_for(lambda: serves(corral), seconds=40)
    assert wait_for(lambda: nothing_is_stuck(corral), seconds=20)


@pytest.mark.parametrize("marks", [VALKEY, POSTGRES], ids=["valkey", "postgres"])
def test_who_asks_meanwhile_is_told_so_and_not_left_waiting(corral: Server, marks: tuple[str, ...]) -> None:
    with dead(corral, *marks):
        time.sleep(1)
        reply = corral.call("POST", "/api/chat", json=LONG, timeout=20)
    assert reply.status_code == 503 and "try again" in reply.json()["error"]
    assert wait_for(lambda: serves(corral), seconds=40)
