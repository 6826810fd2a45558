import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from corral import datadir
from corral.datadir import DataError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_secrets_are_for_us_alone_and_stay_the_same(tmp_path: Path) -> None:
    first = datadir.load_secrets(tmp_path / "data")
    assert set(first) == {"django", "postgres", "valkey"}
    assert len(set(first.values())) == 3 and all(len(value) >= 43 for value in first.values())
    assert mode(tmp_path / "data" / "secrets.json") == 0o600
    assert datadir.load_secrets(tmp_path / "data") == first


def test_first_calls_at_once_agree_on_the_secrets(tmp_path: Path) -> None:
    script = "import sys, pathlib; from corral import datadir; print(datadir.load_secrets(pathlib.Path(sys.argv[1])))"
    command = [sys.executable, "-c", script, str(tmp_path / "data")]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = {racer.communicate()[0] for racer in racers}
    assert len(answers) == 1 and "postgres" in answers.pop()
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["secrets.json"]


def test_a_new_folder_is_private_and_no_ancestors_mode_is_touched(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    before = os.umask(0o000)
    try:
        datadir.make_root(tmp_path / "a" / "data")
    finally:
        os.umask(before)
    assert mode(tmp_path) == 0o750
    expected = 0o711 if os.geteuid() == 0 else 0o700
    assert mode(tmp_path / "a" / "data") == expected


def test_another_layout_is_refused_by_both_numbers(tmp_path: Path) -> None:
    datadir.check_version(tmp_path)
    datadir.check_version(tmp_path)
    (tmp_path / "VERSION").write_text("99\n")
    with pytest.raises(DataError, match="has layout 99, this Corral reads layout 1"):
        datadir.check_version(tmp_path)


def test_a_disk_without_room_is_refused_with_what_is_needed(tmp_path: Path) -> None:
    datadir.check_room(tmp_path, needed=1)
    with pytest.raises(DataError, match="The disk is full: .* MB left, and 1073741824 MB are needed"):
        datadir.check_room(tmp_path, needed=2**50)


def test_what_the_system_refuses_becomes_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be used: Not a directory"):
        datadir.load_secrets(tmp_path / "file" / "data")


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(DataError, match="The disk is full"), datadir.refusals(), full.open("w") as file:
        file.write("x")


def test_a_folder_is_held_by_one_and_the_other_is_told_by_whom(tmp_path: Path) -> None:
    datadir.make_private(tmp_path / "run")
    refused = pytest.raises(DataError, match=f"already runs on .*, as process {os.getpid()}")
    with datadir.locked(tmp_path), refused, datadir.locked(tmp_path):
        pass
    with datadir.locked(tmp_path):
        pass


def test_the_sockets_of_a_deep_folder_move_to_a_short_private_one(tmp_path: Path) -> None:
    assert datadir.socket_folder(Path("/data")) == Path("/data/run/sockets")
    deep = tmp_path / ("d" * 100)
    assert len(str(datadir.socket_folder(deep))) < 40
    assert datadir.socket_folder(deep) != datadir.socket_folder(tmp_path / ("e" * 100))
