"""`/healthz`: the process answers. `/readyz`: what a request needs is there, or a list of what is missing."""

import asyncio

import psycopg
import redis
import structlog
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse

from apps.inference.models import Worker
from corral import embedded

TIMEOUT = 5.0  # seconds in which everything has to answer

log = structlog.get_logger()


async def healthz(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"status": "alive"})


async def readyz(request: HttpRequest) -> JsonResponse:
    try:
        missing = await asyncio.wait_for(sync_to_async(_missing)(), TIMEOUT)
    except TimeoutError:
        missing = ["an answer within 5 seconds"]
    if missing:
        log.debug("not ready", missing=missing)
        return JsonResponse({"status": "not ready", "missing": missing}, status=503)
    return JsonResponse({"status": "ready"})


def _missing() -> list[str]:
    """What is not there, by the name an admin knows it by."""
    database = _postgres_answers()
    checks = {
        "postgres": database,
        "valkey": _valkey_answers(),
        "an inference worker": database and Worker.objects.live().exists(),
    }
    return [name for name, there in checks.items() if not there]


def _postgres_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, psycopg.Error) as error:
        log.warning("postgres does not answer", reason=str(error))
        return False
    return True


def _valkey_answers() -> bool:
    try:
        return embedded.ping(settings.REDIS_URL)
    except redis.exceptions.RedisError as error:
        log.warning("valkey does not answer", reason=str(error))
        return False
