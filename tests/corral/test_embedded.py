"""The embedded servers: what they may do, who may talk to them, and how they come back from a bad end."""

import os
import pwd
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from corral import binaries, datadir, embedded, leftovers
from corral.datadir import DataError
from corral.processes import Process, StartError, spawn

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives the servers to another user")


@contextmanager
def running(service: Process) -> Iterator[subprocess.Popen[bytes]]:
    process = embedded.start(service)
    try:
        yield process
    finally:
        embedded.stop(service, process)


def test_postgres_answers_its_password_only_and_stops_cleanly(prepared: Path) -> None:
    url = embedded.database_url(prepared)
    with running(embedded.postgres(prepared)) as process:
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == ("corral",)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(url.replace(":" + datadir.load_secrets(prepared)["postgres"], ":wrong"))
    assert process.returncode == 0
    assert not (prepared / "postgres" / "postmaster.pid").exists()


def test_no_statement_and_no_row_is_written_to_postgres_log(prepared: Path) -> None:
    with running(embedded.postgres(prepared)), psycopg.connect(embedded.database_url(prepared), autocommit=True) as sql:
        sql.execute("CREATE TEMPORARY TABLE said (words text PRIMARY KEY)")
        sql.execute("INSERT INTO said VALUES ('my secret prompt')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            sql.execute("INSERT INTO said VALUES ('my secret prompt')")
    written = (prepared / "run" / "postgres.log").read_text()
    assert "ready to accept connections" in written
    assert "my secret prompt" not in written and "duplicate key" not in written


def test_valkey_answers_its_password_only_and_keeps_what_it_was_told(prepared: Path) -> None:
    url = embedded.redis_url(prepared)
    for _ in range(2):
        with running(embedded.valkey(prepared)) as process:
            client = redis.Redis.from_url(url)
            assert client.incr("starts") in (1, 2)
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            with pytest.raises(redis.exceptions.AuthenticationError):
                embedded.ping(f"unix://{embedded.valkey_socket(prepared)}")
            count = client.get("starts")
            client.close()
        assert process.returncode == 0
    assert count == b"2"


def test_every_folder_of_the_servers_is_private(prepared: Path) -> None:
    for folder in (prepared / "postgres", prepared / "valkey", datadir.socket_folder(prepared)):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


@as_root
def test_started_as_root_the_servers_have_no_right_of_roots(prepared: Path) -> None:
    nobody = pwd.getpwnam(binaries.SERVICE_USER)
    with running(embedded.valkey(prepared)) as process:
        server = psutil.Process(process.pid)
        assert set(server.uids()) == {nobody.pw_uid}
        assert set(server.gids()) == {nobody.pw_gid}
        groups = Path(f"/proc/{process.pid}/status").read_text().partition("Groups:")[2].splitlines()[0]
        assert groups.split() == []


@as_root
def test_a_way_that_is_closed_to_the_servers_user_is_said_and_left_closed(data: Path) -> None:
    data.parent.chmod(0o700)
    with pytest.raises(DataError, match=f"nobody, who may not pass {data.parent}"):
        embedded.prepare(data)
    assert stat.S_IMODE(data.parent.stat().st_mode) == 0o700


def test_a_socket_folder_that_others_can_enter_is_refused(data: Path) -> None:
    embedded.prepare(data)
    datadir.socket_folder(data).chmod(0o777)
    with pytest.raises(DataError, match="is not private to us"):
        embedded.prepare(data)


def test_a_cluster_of_another_postgres_is_refused_by_both_versions(data: Path) -> None:
    embedded.prepare(data)
    (data / "postgres" / "PG_VERSION").write_text("15\n")
    with pytest.raises(DataError, match="was made by PostgreSQL 15, this Corral brings 18"):
        embedded.postgres(data)


def test_a_postgres_that_was_left_on_the_cluster_is_stopped_cleanly(prepared: Path) -> None:
    service = embedded.postgres(prepared)
    left = embedded.start(service)
    leftovers.clear_postgres(prepared)
    assert left.wait(10) == 0
    with running(service), psycopg.connect(embedded.database_url(prepared)):
        pass


def test_a_stale_pid_file_with_a_strangers_number_does_not_keep_postgres_from_starting(prepared: Path) -> None:
    service = embedded.postgres(prepared)
    killed = embedded.start(service)
    record = (prepared / "postgres" / "postmaster.pid").read_text()
    killed.send_signal(signal.SIGQUIT)
    killed.wait(10)
    stranger = subprocess.Popen(["/bin/sleep", "60"], user=service.user)
    try:
        for path in (prepared / "postgres" / "postmaster.pid", datadir.socket_folder(prepared) / ".s.PGSQL.5432.lock"):
            path.write_text(record.replace(str(killed.pid), str(stranger.pid), 1))
            binaries.own(path)
        leftovers.clear_postgres(prepared)
        assert stranger.poll() is None
        with running(service), psycopg.connect(embedded.database_url(prepared)):
            pass
    finally:
        stranger.kill()
        stranger.wait()


def test_a_server_that_cannot_start_says_why_in_its_own_words(prepared: Path) -> None:
    service = embedded.postgres(prepared)
    service.command.append("--no-such-setting=1")
    with pytest.raises(StartError, match="postgres ended with code 1 while starting: .*no_such_setting"):
        embedded.start(service)


def test_a_program_that_is_missing_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="web cannot start: .*/nothing is missing; run `make setup`"):
        spawn(Process(name="web", command=[str(tmp_path / "nothing")]))
