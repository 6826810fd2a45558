"""Bytes are hashed on their way in, and a digest alone opens nothing."""

import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection

from apps.errors import Problem
from apps.registry import blobs, digests, garbage
from apps.registry.models import Blob, Grant, Model, Possession
from tests.registry.conftest import People

Make = Callable[..., Model]
HELLO = b"hello blob"
DIGEST = digests.of(HELLO)


def files(store: Path) -> list[str]:
    return sorted(file.name for file in store.rglob("*") if file.is_file())


def unreadable() -> Iterator[bytes]:
    raise AssertionError("the body was read")
    yield b""


def test_a_blob_is_stored_under_its_digest(store: Path, people: People) -> None:
    stored = blobs.write([b"hello", b" ", b"blob"], expected=DIGEST, user=people.alice)
    assert stored == blobs.Stored(DIGEST, len(HELLO), created=True)
    assert blobs.path(DIGEST).read_bytes() == HELLO
    assert files(store) == [DIGEST.replace(":", "-")]
    assert blobs.path(DIGEST).stat().st_mode & 0o777 == 0o644
    assert store.stat().st_mode & 0o777 == 0o700


def test_bytes_that_i_have_are_not_read_again(store: Path, people: People) -> None:
    blobs.write([HELLO], expected=DIGEST, user=people.alice)
    assert not blobs.write(unreadable(), expected=DIGEST, user=people.alice).created


def test_a_known_digest_is_no_key(store: Path, people: People) -> None:
    blobs.write([HELLO], expected=DIGEST, user=people.alice)
    assert blobs.has(DIGEST, people.alice)
    assert not blobs.has(DIGEST, people.bob)
    with pytest.raises(Problem, match="digest mismatch"):
        blobs.write([b"guess"], expected=DIGEST, user=people.bob)
    assert not blobs.has(DIGEST, people.bob)
    assert blobs.write([HELLO], expected=DIGEST, user=people.bob).created
    assert blobs.has(DIGEST, people.bob)


def test_who_sees_a_model_may_name_its_blobs(make: Make, people: People) -> None:
    made = make("m", people.alice, system="hi")
    layers = [layer.digest for layer in made.manifest.document.layers] + [made.manifest.document.config.digest]
    Possession.objects.all().delete()
    assert all(blobs.has(digest, people.alice) for digest in layers)
    assert not any(blobs.has(digest, people.bob) for digest in layers)
    Grant.objects.create(model=made, group=people.crew)
    assert all(blobs.has(digest, people.bob) for digest in layers)
    assert not any(blobs.has(digest, people.charlie) for digest in layers)


def test_bytes_that_hash_to_something_else_are_not_kept(store: Path, people: People) -> None:
    wrong = "sha256:" + "2" * 64
    with pytest.raises(Problem) as caught:
        blobs.write([HELLO], expected=wrong, user=people.alice)
    assert caught.value.message == f'digest mismatch, expected "{wrong}", got "{DIGEST}"'
    assert files(store) == []
    assert not Blob.objects.exists()


def test_an_empty_blob_is_a_blob(store: Path, people: People) -> None:
    assert blobs.write([], expected=digests.of(b""), user=people.alice).size == 0


def test_a_sender_who_leaves_leaves_nothing(store: Path, people: People) -> None:
    def leaving() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        blobs.write(leaving(), expected=DIGEST, user=people.alice)
    assert files(store) == []
    assert not Blob.objects.exists()


def test_a_full_disk_is_said_in_a_sentence_and_leaves_nothing(
    store: Path, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's own full device stands in for the file: every write to it fails as on a full disk."""
    monkeypatch.setattr(blobs, "_opened", lambda path: FileIO("/dev/full", "wb"))
    with pytest.raises(Problem) as caught:
        blobs.write([HELLO], expected=DIGEST, user=people.alice)
    assert caught.value.code == "no_space"
    assert files(store) == []
    assert not Blob.objects.exists()


@pytest.mark.parametrize("digest", ["nonsense", "../../etc/passwd", ""])
def test_a_malformed_digest_is_refused_before_anything_is_read(digest: str, store: Path, people: People) -> None:
    with pytest.raises(Problem, match="invalid digest format"):
        blobs.write(unreadable(), expected=digest, user=people.alice)
    with pytest.raises(Problem, match="invalid digest format"):
        blobs.path(digest)


def test_a_big_upload_takes_little_memory(store: Path, people: People) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    chunk = b"\0" * blobs.CHUNK_BYTES
    hasher = hashlib.sha256()
    for _ in range(200):
        hasher.update(chunk)
    blobs.write((chunk for _ in range(200)), expected=f"sha256:{hasher.hexdigest()}", user=people.alice)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024


@pytest.mark.parametrize("piece", [1000, 1 << 20, (1 << 21) + 1, 7_000_000])
def test_whatever_comes_is_written_in_whole_chunks(
    piece: int, store: Path, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux maps what was written so by huge pages (docs/benchmarks.md, pages of the weights)."""
    sizes: list[int] = []

    class Noted(FileIO):
        def write(self, content: Any) -> int:
            sizes.append(len(content))
            return super().write(content)

    monkeypatch.setattr(blobs, "_opened", lambda path: Noted(path, "xb"))
    content = os.urandom(5_000_000)
    pieces = [content[start : start + piece] for start in range(0, len(content), piece)]
    stored = blobs.write(pieces, expected=digests.of(content), user=people.alice)
    assert blobs.path(stored.digest).read_bytes() == content
    assert all(size % blobs.CHUNK_BYTES == 0 for size in sizes[:-1]) and sum(sizes) == len(content)


WRITER = """
import os, sys, django
os.environ["DJANGO_SETTINGS_MODULE"] = "corral.settings"
django.setup()
from apps.registry import blobs

def slowly():
    yield b"x" * 5000000
    print("halfway", flush=True)
    sys.stdin.read()

blobs.write(slowly(), expected="sha256:" + "ab" * 32, user=None)
"""


@pytest.mark.django_db(transaction=True)
def test_a_writer_that_is_killed_leaves_no_row_and_no_visible_file(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {
        **os.environ,
        "CORRAL_DATA": str(store.parent),
        "DATABASE_URL": database_url(),
        "REDIS_URL": str(settings.REDIS_URL),
    }
    with subprocess.Popen(
        [sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as writer:
        assert writer.stdout and writer.stdout.readline() == "halfway\n"
        assert len(files(store)) == 1
        monkeypatch.setattr(garbage, "INCOMING_GRACE_SECONDS", 0)
        assert garbage.sweep_incoming() == 0, "a living writer's file was taken away"
        writer.send_signal(signal.SIGKILL)
    assert not Blob.objects.exists()
    assert not list((store / "blobs").glob("*"))
    assert garbage.sweep_incoming() == 1
    assert files(store) == []


def database_url() -> str:
    values = connection.settings_dict
    login = f"{quote(values['USER'])}:{quote(values['PASSWORD'])}"
    return f"postgresql://{login}@/{values['NAME']}?host={quote(values['HOST'], safe='')}&port={values['PORT']}"


def test_a_touch_is_written_at_most_every_half_minute(store: Path, people: People) -> None:
    blobs.write([HELLO], expected=DIGEST, user=people.alice)
    before = Blob.objects.get().touched_at
    blobs.has(DIGEST, people.alice)
    assert Blob.objects.get().touched_at == before
    Blob.objects.update(touched_at=before - 2 * blobs.TOUCH_EVERY)
    blobs.has(DIGEST, people.alice)
    assert Blob.objects.get().touched_at > before


def test_a_file_that_got_lost_is_healed_by_sending_it_again(store: Path, people: People) -> None:
    blobs.write([HELLO], expected=DIGEST, user=people.alice)
    blobs.path(DIGEST).unlink()
    assert blobs.write([HELLO], expected=DIGEST, user=people.alice).created
    assert blobs.path(DIGEST).read_bytes() == HELLO


def test_a_file_without_a_row_is_taken_over_by_the_next_upload(store: Path, people: People) -> None:
    blobs.write([HELLO], expected=DIGEST, user=people.alice)
    Blob.objects.all().delete()
    before = blobs.path(DIGEST).stat().st_mtime_ns
    time.sleep(0.01)
    assert blobs.write([HELLO], expected=DIGEST, user=people.bob).created
    assert blobs.path(DIGEST).stat().st_mtime_ns == before
