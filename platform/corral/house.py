"""Corral's own processes, as commands: the one source for `manage.py up`, `manage.py serve` and docker-compose.yml."""

import os
import sys

from django.conf import settings

from apps.inference.models import queue_of
from corral.listen import Address
from corral.processes import Process

MANAGE = settings.BASE_DIR / "manage.py"
CELERY = [sys.executable, "-m", "celery", "--quiet", "--app", "corral"]


def address() -> Address:
    return Address(settings.LISTEN_HOST, settings.LISTEN_PORT)


def web() -> Process:
    """uvicorn. It takes nobody's word for who the client is: a proxy's headers close the loopback door instead."""
    command = [
        sys.executable, "-m", "uvicorn", "corral.asgi:application",
        "--host", settings.LISTEN_HOST, "--port", str(settings.LISTEN_PORT),
        "--workers", str(settings.WEB_WORKERS),
        "--loop", "uvloop", "--http", "httptools", "--ws", "websockets-sansio", "--lifespan", "off",
        "--no-access-log", "--no-proxy-headers", "--no-server-header", "--no-date-header",
        "--log-level", "warning", "--timeout-graceful-shutdown", "5",
    ]  # fmt: skip
    return Process(name="web", command=command, grace=10.0, env=_env("web"))


def inference() -> Process:
    """It reads `upkeep` too: its tasks return at once, while the registry's threads may all be busy for an hour."""
    return _worker("inference", queues=f"{queue_of(settings.WORKER_NAME)},upkeep", threads=16, grace=15.0)


def registry() -> Process:
    """Its grace is short of a long job's end: what is cut off is resumed or reported by the job's lease."""
    return _worker("registry", queues="registry,upkeep", threads=8, grace=15.0)


def beat() -> Process:
    schedule = settings.DATA / "run" / "beat"
    command = [*CELERY, "beat", "--schedule", str(schedule)]
    return Process(name="beat", command=command, env=_env("beat"))


def _worker(name: str, *, queues: str, threads: int, grace: float) -> Process:
    command = [
        *CELERY, "worker", "--pool", "threads", "--concurrency", str(threads), "--queues", queues,
        "--hostname", f"{name}@{settings.WORKER_NAME}", "--without-gossip", "--without-mingle",
        "--without-heartbeat",  # for Celery's own monitors; our workers beat in Postgres
    ]  # fmt: skip
    return Process(name=name, command=command, grace=grace, env=_env(name))


def _env(name: str) -> dict[str, str]:
    return {**os.environ, "CORRAL_PROCESS": name}


def management(name: str, *arguments: str) -> Process:
    """One of our own commands, run to its end as a child."""
    return Process(name=name, command=[sys.executable, str(MANAGE), name, *arguments], env=_env(name))


SERVICES = {"beat": beat, "registry": registry, "inference": inference, "web": web}  # in the order of a start
