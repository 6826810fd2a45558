"""The supervisor, with small children in place of Corral's own: real processes, real signals."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from corral import leftovers, records

SCRIPT = Path(__file__).with_name("small_house.py")


class House:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said = folder / "said"
        self.process: subprocess.Popen[bytes] | None = None
        self.seen: list[psutil.Process] = []

    def start(self) -> None:
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, str(SCRIPT), str(self.folder)], stdout=said, stderr=said, start_new_session=True
            )

    def journal(self) -> list[str]:
        path = self.folder / "journal"
        return path.read_text().splitlines() if path.exists() else []

    def started(self, name: str) -> list[int]:
        return [int(line.split()[2]) for line in self.journal() if line.startswith(f"{name} started")]

    def both_up(self) -> bool:
        return bool(self.started("first") and self.started("second") and len(self.family()) == 3)

    def family(self) -> list[psutil.Process]:
        """The two children and the grandchild."""
        path = self.folder / "processes.json"
        found = [process for record in records.read(path) for process in record.session()]
        self.seen += found
        return found

    def kill(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)

    def survivors(self) -> list[psutil.Process]:
        return [process for process in self.seen if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def until(what: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.05)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    if house.process is not None and house.process.poll() is None:
        house.process.kill()
        house.process.wait()
    for process in house.survivors():
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_children_are_stopped_in_the_reverse_of_their_start_and_nothing_lives_on(house: House, number: int) -> None:
    house.start()
    until(house.both_up)
    assert house.kill(number) == 0
    stops = [line for line in house.journal() if line.endswith("stopped")]
    assert stops == ["second stopped", "first stopped"]
    assert house.survivors() == []
    assert not (house.folder / "processes.json").exists()


def test_a_child_has_a_session_of_its_own(house: House) -> None:
    house.start()
    until(house.both_up)
    assert house.process is not None
    sessions = {record.pid for record in records.read(house.folder / "processes.json")}
    assert len(sessions) == 2 and house.process.pid not in sessions
    assert {process.pid for process in house.family()} > sessions


def test_a_child_that_dies_is_started_again_and_said_so(house: House) -> None:
    house.start()
    until(house.both_up)
    psutil.Process(house.started("second")[0]).kill()
    until(lambda: len(house.started("second")) == 2)
    line = next(line for line in house.said.read_text().splitlines() if "starting it again" in line)
    assert "second" in line and "-9" in line
    until(lambda: len(house.family()) == 3)
    assert house.kill(signal.SIGTERM) == 0
    assert house.survivors() == []


def test_a_child_that_does_not_listen_is_killed_after_its_grace(house: House) -> None:
    (house.folder / "deaf").touch()
    house.start()
    until(house.both_up)
    assert house.kill(signal.SIGTERM) == 0
    assert house.survivors() == []


def test_after_kill_9_of_the_supervisor_the_next_start_stops_what_was_left(house: House) -> None:
    (house.folder / "deaf").touch()  # or the kernel's word of the parent's death would have ended them
    house.start()
    until(house.both_up)
    old = house.family()
    house.kill(signal.SIGKILL)
    assert len([process for process in old if process.is_running()]) == 3
    (house.folder / "deaf").unlink()
    house.start()
    until(lambda: len(house.started("second")) == 2)
    assert not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in old)
    until(house.both_up)
    assert house.kill(signal.SIGTERM) == 0
    assert house.survivors() == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent is gone")
def test_a_killed_supervisor_takes_its_children_along(house: House) -> None:
    house.start()
    until(house.both_up)
    house.kill(signal.SIGKILL)
    until(lambda: [line for line in house.journal() if line.endswith("stopped")])


def test_a_child_that_never_comes_up_ends_the_start_with_a_sentence(house: House) -> None:
    (house.folder / "doomed").touch()
    house.start()
    assert house.process is not None
    assert house.process.wait(30) == 1
    assert "ended with code 3 while starting" in house.said.read_text()


def test_a_record_whose_number_went_to_another_process_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        record = records.Record("web", stranger.pid, time.time() - 3600, signal.SIGTERM, 1.0)
        assert record.leader() is None and record.session() == []
        records.write(tmp_path / "processes.json", [record])
        assert json.loads((tmp_path / "processes.json").read_text())[0]["pid"] == stranger.pid
        leftovers.stop_all(tmp_path / "processes.json")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
