"""A mapped file's pages, let go and read again."""

import mmap
import os
import sys
from pathlib import Path

import pytest

from apps.inference.engine import mapping

SIZE = 16 * 2**20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it does nothing elsewhere")


def file_pages() -> int:
    """Bytes of mapped files that this process holds (RssFile of proc_pid_status(5))."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssFile"))


def test_pages_leave_the_process_and_come_back_when_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(4096) * (SIZE // 4096))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        before = bytes(mapped)
        held = file_pages()
        assert mapping.let_go(os.fstat(file.fileno())) == SIZE
        assert file_pages() <= held - SIZE // 2
        assert bytes(mapped) == before


def test_another_file_and_what_may_be_written_are_left_alone(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).write_bytes(b"\1" * SIZE)
    with (tmp_path / "one").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        mapped[0] = 7
        assert mapping.let_go(os.fstat(file.fileno())) == 0
        assert mapping.let_go((tmp_path / "other").stat()) == 0
        assert mapped[0] == 7
