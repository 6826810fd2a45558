"""What `manage.py up` does, from an empty folder to a house that answers, and back."""

import asyncio
import http.client
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from django.conf import settings

from corral import datadir, embedded, env, house, leftovers, listen
from corral.listen import Address
from corral.processes import StartError
from corral.supervisor import StopAsked, Supervisor

SAY_AGAIN = 10.0  # seconds between two lines about what is still missing

log = structlog.get_logger()
Say = Callable[[str], None]


def up(say: Say) -> None:
    """Runs the house until it is told to stop. `say` gets lines for the person at the terminal.

    Raises StartError or DataError: a sentence, nothing left running.
    """
    _mention_unknown_settings(say)
    os.environ["CORRAL_PROCESS"] = "supervisor"
    root: Path = settings.DATA
    prepare(root)
    with datadir.locked(root):
        leftovers.stop_all(records_file(root))
        if settings.EMBEDDED_POSTGRES:
            leftovers.clear_postgres(root)
        listen.check_free(house.address())
        asyncio.run(_run(root, say))


def _mention_unknown_settings(say: Say) -> None:
    """A name that is none of ours is most often one of ours with a typing error."""
    for name in sorted(os.environ):
        if name.startswith("CORRAL_") and name not in env.KNOWN:
            say(f"{name} is no setting of Corral's (docs/settings.md lists them): it does nothing.")


def records_file(root: Path) -> Path:
    return root / "run" / "processes.json"


def sign_in_file(root: Path) -> Path:
    """Where the first administrator's sign-in waits until it was shown, should we be killed in between."""
    return root / "run" / "sign-in.txt"


def prepare(root: Path) -> None:
    """The data folder: there, of this layout, with room."""
    first = not (root / "VERSION").exists()
    with datadir.refusals():
        datadir.make_root(root)
    datadir.check_version(root)
    datadir.check_room(root, needed=datadir.ROOM_FOR_A_FIRST_START if first else datadir.ROOM_FOR_A_START)
    embedded.prepare(root)


async def _run(root: Path, say: Say) -> None:
    async with Supervisor(records_file(root)) as supervisor:
        try:
            await _start(supervisor, root, say)
            await supervisor.serve()
        except StopAsked:
            pass  # Ctrl-C while starting: no error
        finally:
            _show_sign_in(root, say)
            say("Stopping.")
    say("Stopped.")


async def _start(supervisor: Supervisor, root: Path, say: Say) -> None:
    await _start_servers(supervisor, root, say)
    await _prepare_database(supervisor, root)
    for describe in house.SERVICES.values():
        await supervisor.start(describe())
    await supervisor.unless_stopped(_until_ready(house.address(), say))
    supervisor.settled()
    await _fetch_starter(supervisor, say)
    say(f"\nCorral is ready at {house.address().url}")
    _show_sign_in(root, say)


async def _start_servers(supervisor: Supervisor, root: Path, say: Say) -> None:
    if settings.EMBEDDED_POSTGRES:
        if not (root / "postgres" / "PG_VERSION").exists():
            say("Making the database (once) ...")
        await supervisor.start(embedded.postgres(root))
    if settings.EMBEDDED_VALKEY:
        await supervisor.start(embedded.valkey(root))


async def _prepare_database(supervisor: Supervisor, root: Path) -> None:
    code = await supervisor.run(house.management("bootstrap", "--sign-in", str(sign_in_file(root))))
    if code != 0:
        raise StartError("The database could not be made ready; the lines above say why.")


async def _fetch_starter(supervisor: Supervisor, say: Say) -> None:
    if settings.STARTER == "none":
        return
    if await supervisor.run(house.management("starter")) != 0:
        say("There is no starter model; the lines above say why. Everything else works.")


def _show_sign_in(root: Path, say: Say) -> None:
    """Shows what bootstrap made, once: the file is gone afterwards."""
    path = sign_in_file(root)
    if path.exists():
        say(path.read_text(encoding="utf-8"))
        path.unlink()


async def _until_ready(where: Address, say: Say) -> None:
    """Waits until the web process says that nothing is missing; says now and then what is."""
    said = time.monotonic()
    while missing := await _missing(where):
        if time.monotonic() - said > SAY_AGAIN:
            say(f"Still waiting for {', '.join(missing)} ...")
            said = time.monotonic()
        await asyncio.sleep(0.1)


async def _missing(where: Address) -> list[str]:
    """What /readyz misses; nothing when all is there."""
    try:
        status, body = await asyncio.to_thread(_get, where, "/readyz")
    except (OSError, http.client.HTTPException):
        return ["the web process"]
    return [] if status == 200 else list(json.loads(body)["missing"])


def _get(where: Address, path: str) -> tuple[int, bytes]:
    """One request, made as a person on this machine would."""
    connection = http.client.HTTPConnection(urlsplit(where.url).hostname or "", where.port, timeout=6.0)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
