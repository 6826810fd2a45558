"""A whole Corral for a test: `manage.py up` with a data folder and a port of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).resolve().parent.parent
MODEL = "qwen2.5-coder:0.5b"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for(what: Any, *, seconds: float = 10.0, pause: float = 0.05) -> Any:
    """The first true answer of `what()`, or a failure that says so."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := what():
            return answer
        time.sleep(pause)
    raise AssertionError(f"{what} did not come true within {seconds} s")


class Server:
    def __init__(self, data: Path, *, starter: str, settings: dict[str, str]) -> None:
        self.data = data
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("CORRAL_", "OLLAMA_", "DJANGO_"))
        }
        self.env = kept | {
            "CORRAL_DATA": str(data),
            "CORRAL_LISTEN": f"127.0.0.1:{self.port}",
            "CORRAL_STARTER": starter,
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.admin_key = ""
        self.key = ""
        self.log = data.with_suffix(".log")

    # --- life -------------------------------------------------------------------------------------------------

    def start(self, *, seconds: float = 120.0) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=ROOT, env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        try:
            wait_for(self.is_ready, seconds=seconds)
            if not self.admin_key:
                wait_for(lambda: self._has_model() or starterless(self.env), seconds=seconds)
                self.admin_key = self.manage("create_key", "admin", "tests", "--scopes", "infer,models,admin")
                self.key = self.new_user("alice")
        except BaseException:
            sys.stderr.write(self.log.read_text()[-6000:])
            self.stop()
            raise

    def is_ready(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"manage.py up ended with {self.process.returncode}")
        try:
            return httpx.get(f"{self.url}/readyz").status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)

    def _has_model(self) -> bool:
        return MODEL in self.manage("shell", "-v", "0", "-c", SHOW_MODELS)

    # --- people -----------------------------------------------------------------------------------------------

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().splitlines()[-1].strip() if done.stdout.strip() else ""

    def new_user(self, name: str) -> str:
        """A user and a key that may infer and make models."""
        return self.new_users(name)[0]

    def new_users(self, *names: str) -> list[str]:
        return self.manage("shell", "-v", "0", "-c", MAKE_USERS.format(names=names)).split()

    # --- talking ----------------------------------------------------------------------------------------------

    def call(self, method: str, path: str, *, key: str | None = None, **kw: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.admin_key if key is None else key}", **kw.pop("headers", {})}
        return httpx.request(method, self.url + path, headers=headers, timeout=kw.pop("timeout", 120), **kw)

    def lines(self, path: str, body: dict[str, Any], *, key: str | None = None) -> Iterator[dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self.admin_key if key is None else key}"}
        with httpx.stream("POST", self.url + path, json=body, headers=headers, timeout=120) as answer:
            assert answer.status_code == 200, answer.read()
            for line in answer.iter_lines():
                yield json.loads(line)

    # --- processes --------------------------------------------------------------------------------------------

    def family(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def pids(self, *marks: str) -> list[int]:
        """Processes below the supervisor whose command line holds every mark."""
        found = []
        for process in self.family():
            try:
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue
            if all(mark in line for mark in marks):
                found.append(process.pid)
        return found


MAKE_USERS = """
from tests import factories
print(*[factories.api_key(factories.user(name)) for name in {names!r}])
"""
SHOW_MODELS = "from apps.registry.models import Model; print([m.name + ':' + m.tag for m in Model.objects.all()])"


def starterless(env: dict[str, str]) -> bool:
    return env["CORRAL_STARTER"] == "none"


@contextmanager
def running(*, starter: str, **settings: str) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="corral-e2e-", dir="/tmp") as folder:
        os.chmod(folder, 0o711)
        server = Server(Path(folder) / "data", starter=starter, settings=settings)
        try:
            server.start()
            yield server
        finally:
            server.stop()
