"""Someone who reads a stream while parts of the server die, and what to ask of it afterwards."""

import os
import signal
import threading
from typing import Any

import httpx

from tests.server import MODEL, Server, wait_for

LONG: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "Count from 1 to 900, one number a line."}],
    "options": {"temperature": 0, "num_predict": 600},
}
SHORT: dict[str, Any] = {**LONG, "options": {"temperature": 0, "num_predict": 4}}
BOUND = 20.0  # seconds: 10 until a death is known to be one, 10 for the run to end


class Listener:
    """Reads a stream in a thread, as a client would."""

    def __init__(self, server: Server, body: dict[str, Any]) -> None:
        self.lines: list[dict[str, Any]] = []
        self.broken = ""
        self._server, self._body = server, body
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        wait_for(lambda: len(self.lines) >= 3, seconds=30)

    def _read(self) -> None:
        try:
            for line in self._server.lines("/api/chat", self._body):
                self.lines.append(line)
        except httpx.HTTPError as error:
            self.broken = str(error) or type(error).__name__

    def wait(self, seconds: float = BOUND) -> None:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"the stream did not end within {seconds} s"


def kill(server: Server, *marks: str) -> None:
    pids = server.pids(*marks)
    assert pids, marks
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def serves(server: Server) -> bool:
    """Whether a new run is answered."""
    try:
        answer = server.call("POST", "/api/chat", json={**SHORT, "stream": False}, timeout=60)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200 and answer.json()["done"] is True


def nothing_is_stuck(server: Server) -> bool:
    try:
        return not server.call("GET", "/api/corral/runs?state=open").json()["runs"]
    except (httpx.HTTPError, ValueError, KeyError):
        return False
