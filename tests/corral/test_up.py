"""`manage.py up` as a person meets it: it comes up, keeps its processes, says what is wrong, leaves nothing behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from corral import house, records

from tests.server import ROOT, free_port, wait_for

EVERYONE = {"postgres", "valkey", *house.SERVICES}


class Up:
    def __init__(self, data: Path, port: int) -> None:
        self.data = data
        self.url = f"http://127.0.0.1:{port}"
        self.log = data.with_suffix(".log")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CORRAL_", "OLLAMA_", "DJANGO_"))}
        self.env = kept | {
            "CORRAL_DATA": str(data),
            "CORRAL_LISTEN": f"127.0.0.1:{port}",
            "CORRAL_STARTER": "none",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.log.unlink(missing_ok=True)  # a file of its own for every start: what a killed one left may still write
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up"],
                cwd=ROOT,
                env=self.env,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        wait_for(self.is_up, seconds=60)

    def refused(self) -> str:
        """What a start that must fail says, all of it."""
        done = subprocess.run(
            [sys.executable, "manage.py", "up"],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 1, done.stdout + done.stderr
        return done.stderr

    def said(self) -> str:
        return self.log.read_text()

    def is_up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.said()
        return "Corral is ready at" in self.said()

    def status(self) -> int:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=10).status_code
        except httpx.HTTPError:
            return 0

    def pids(self) -> dict[str, int]:
        return {record.name: record.pid for record in records.read(self.data / "run" / "processes.json")}

    def everything(self) -> list[psutil.Process]:
        """All processes of the house, by their sessions: workers' children too."""
        return [p for record in records.read(self.data / "run" / "processes.json") for p in record.session()]

    def kill(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def up(prepared: Path) -> Iterator[Up]:
    up = Up(prepared, free_port())
    try:
        up.start()
        yield up
    finally:
        if up.process is not None and up.process.poll() is None:
            up.kill(signal.SIGTERM)
        sys.stderr.write(up.said()[-6000:])


def test_everything_runs_and_answers(up: Up) -> None:
    assert up.status() == 200
    assert set(up.pids()) == EVERYONE


def test_the_first_start_shows_a_sign_in_and_a_key_that_works(up: Up) -> None:
    password = re.search(r"password +(\S+)", up.said())
    key = re.search(r"corral_\w{8}_[\w-]{43}", up.said())
    assert password and key
    answer = httpx.get(f"{up.url}/api/corral/me", headers={"Authorization": f"Bearer {key[0]}"})
    assert answer.status_code == 200 and "admin" in answer.text
    assert not (up.data / "run" / "sign-in.txt").exists()


def test_a_second_up_on_the_same_data_names_the_first(up: Up) -> None:
    assert up.process is not None
    said = up.refused()
    assert f"Corral already runs on {up.data}, as process {up.process.pid}." in said
    assert "Traceback" not in said and len(said.strip().splitlines()) == 1
    assert up.status() == 200


@pytest.mark.parametrize("name", ["postgres", "inference"])
def test_a_process_that_is_killed_is_started_again_and_said_so(up: Up, name: str) -> None:
    before = up.pids()
    psutil.Process(before[name]).kill()
    wait_for(lambda: up.pids().get(name, before[name]) != before[name], seconds=20)
    wait_for(lambda: up.status() == 200, seconds=30)
    lines = [json.loads(line) for line in up.said().splitlines() if line.startswith("{")]
    line = next(line for line in lines if line.get("process_name") == name)
    assert (line["event"], line["exit_code"]) == ("ended; starting it again", -9)
    assert {k: v for k, v in up.pids().items() if k != name} == {k: v for k, v in before.items() if k != name}


def test_after_kill_9_the_next_start_comes_up_clean_and_shows_no_secret(up: Up) -> None:
    before = up.everything()
    up.kill(signal.SIGKILL)
    up.start()
    assert up.status() == 200
    assert set(up.pids()) == EVERYONE
    assert not [process for process in before if records.lives(process)]
    assert "password" not in up.said() and "corral_" not in up.said()


def test_told_to_stop_it_leaves_nothing_running(up: Up) -> None:
    before = up.everything()
    assert len(before) >= len(EVERYONE)
    assert up.kill(signal.SIGTERM) == 0
    assert not [process for process in before if records.lives(process)]
    assert up.said().rstrip().endswith("Stopped.") and "Traceback" not in up.said()
    assert not (up.data / "postgres" / "postmaster.pid").exists()


def test_a_port_in_use_is_said_in_one_sentence_and_nothing_is_started(data: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = Up(data, port).refused()
    assert said.startswith(f"corral: Port {port} on 127.0.0.1 is in use")
    assert len(said.strip().splitlines()) == 1
    assert not (data / "postgres" / "PG_VERSION").exists()


def test_data_of_another_layout_is_said_in_one_sentence(data: Path) -> None:
    data.mkdir()
    (data / "VERSION").write_text("7\n")
    said = Up(data, free_port()).refused()
    assert said == (
        f"corral: The data folder {data} has layout 7, this Corral reads layout 1: "
        "start the Corral that made it, or point CORRAL_DATA at another folder.\n"
    )


def test_a_setting_that_is_nonsense_is_said_in_one_sentence(data: Path) -> None:
    up = Up(data, free_port())
    up.env["OLLAMA_NUM_PARALLEL"] = "plenty"
    assert up.refused() == "corral: OLLAMA_NUM_PARALLEL='plenty' is not a whole number.\n"


def test_a_database_that_does_not_answer_is_said_in_one_sentence(data: Path) -> None:
    up = Up(data, free_port())
    up.env |= {"DATABASE_URL": "postgresql://u:hidden@127.0.0.1:1/db", "REDIS_URL": "redis://127.0.0.1:1/0"}
    said = up.refused()
    assert "PostgreSQL cannot be used" in said and "Connection refused" in said
    assert "Traceback" not in said and "hidden" not in said
