"""What nothing names goes, and nothing else; also when somebody begins to name it in that moment."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.utils import timezone

from apps.accounts.models import User
from apps.registry import blobs, commits, copies, deletes, digests, garbage
from apps.registry.models import Blob, Manifest, Model
from tests.gguf_files import tiny
from tests.registry.conftest import People

Make = Callable[..., Model]
Upload = Callable[[bytes, User], str]


def age(by: timedelta = timedelta(hours=2)) -> None:
    Blob.objects.update(touched_at=timezone.now() - by)


def stored(store: Path) -> set[str]:
    return {f"sha256:{file.name[7:]}" for file in (store / "blobs").iterdir()}


def test_an_upload_without_a_model_goes_after_an_hour(upload: Upload, people: People, store: Path) -> None:
    digest = upload(b"lonely", people.alice)
    age(timedelta(minutes=59))
    assert garbage.collect() == 0
    age()
    assert garbage.collect() == 1
    assert not Blob.objects.exists() and stored(store) == set() and not blobs.has(digest, people.alice)


def test_what_a_model_uses_stays_however_old(make: Make, people: People, store: Path) -> None:
    made = make("m", people.alice, system="hi")
    age()
    assert garbage.collect() == 0
    document = made.manifest.document
    assert stored(store) == {document.config.digest, *(layer.digest for layer in document.layers)}


@pytest.mark.django_db(transaction=True)
def test_deleting_a_model_frees_what_only_it_used(make: Make, people: People, store: Path) -> None:
    make("m", people.alice, system="one")
    kept = make("n", people.alice, from_="m", system="two").manifest.document
    age()
    deletes.delete("m", user=people.alice)
    assert stored(store) == {kept.config.digest, *(layer.digest for layer in kept.layers)}
    assert Manifest.objects.count() == 1
    age()
    deletes.delete("n", user=people.alice)
    assert stored(store) == set() and not Manifest.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_copy_keeps_what_its_original_loses(make: Make, people: People, store: Path) -> None:
    make("m", people.alice)
    copies.copy(source="m", destination="n", user=people.alice)
    before = stored(store)
    age()
    deletes.delete("m", user=people.alice)
    assert garbage.collect() == 0 and stored(store) == before


@pytest.mark.django_db(transaction=True)
def test_a_replaced_version_is_collected(make: Make, people: People, store: Path) -> None:
    old = make("m", people.alice, system="one").manifest
    age()
    new = make("m", people.alice, content=tiny(seed=3), system="two").manifest
    assert not Manifest.objects.filter(pk=old.pk).exists()
    assert stored(store) == {new.document.config.digest, *(layer.digest for layer in new.document.layers)}


def test_a_file_without_a_row_is_swept(store: Path, upload: Upload, people: People) -> None:
    kept = upload(b"kept", people.alice)
    upload(b"orphan", people.alice)
    Blob.objects.filter(digest=digests.of(b"orphan")).delete()
    (store / "blobs" / "sha256-note").touch()
    assert garbage.sweep_files() == 1
    assert {file.name for file in (store / "blobs").iterdir()} == {kept.replace(":", "-"), "sha256-note"}


@pytest.mark.django_db(transaction=True)
def test_a_blob_that_a_create_is_committing_is_left_alone(make: Make, people: People, store: Path) -> None:
    """The create holds its blobs' rows when the collector comes by."""
    document = make("m", people.alice).manifest.document
    Model.objects.all().delete()
    Manifest.objects.all().delete()
    age()
    collected: list[int] = []

    def collect() -> None:
        try:
            collected.append(garbage.collect())
        finally:
            connection.close()

    with transaction.atomic():
        commits.require_blobs(document)
        other = threading.Thread(target=collect)
        other.start()
        other.join(10)
    assert collected == [0]
    assert len(stored(store)) == 2


@pytest.mark.django_db(transaction=True)
def test_creates_and_collections_at_once_never_lose_a_file(make: Make, people: People, store: Path) -> None:
    """Every model that exists afterwards has all its files; a create that lost its blob failed with a sentence."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def collect() -> None:
        try:
            while not stop.is_set():
                Blob.objects.unused().update(touched_at=timezone.now() - timedelta(hours=2))
                garbage.collect()
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    collector = threading.Thread(target=collect)
    collector.start()
    made = 0
    try:
        for number in range(12):
            try:
                make(
                    f"m{number % 3}", people.alice, content=tiny(seed=number % 2, vocabulary=20), system=f"{number % 4}"
                )
                made += 1
            except Exception as error:
                assert "not found" in str(error) or isinstance(error, FileNotFoundError)
    finally:
        stop.set()
        collector.join(30)
    assert not errors and not collector.is_alive()
    for model in Model.objects.all():
        document = model.manifest.document
        assert all(blobs.path(layer.digest).exists() for layer in (document.config, *document.layers))
    assert {row.digest for row in Blob.objects.all()} <= stored(store)
