"""The models of an Ollama folder come over with every hash checked."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from apps.errors import Problem
from apps.registry import digests, imports, manifest, resolve
from apps.registry.manifest import Document, Layer
from apps.registry.models import Model
from tests.gguf_files import tiny
from tests.registry.conftest import People


@pytest.fixture
def ollama(tmp_path: Path) -> Path:
    folder = tmp_path / "ollama"
    (folder / "blobs").mkdir(parents=True)
    weights = keep(folder, tiny(vocabulary=30))
    config = keep(folder, manifest.dump_config({"model_format": "gguf", "model_family": "llama"}))
    system = keep(folder, b"You are Mario.")
    layers = (Layer(manifest.WEIGHTS, *weights), Layer(manifest.SYSTEM, *system))
    body = Document(Layer(manifest.CONFIG, *config), layers)
    place = folder / "manifests" / "registry.ollama.ai" / "library" / "mario"
    place.mkdir(parents=True)
    (place / "v1").write_bytes(body.dump())
    (place / ".DS Store").write_bytes(b"no name")
    return folder


def keep(folder: Path, content: bytes) -> tuple[str, int]:
    digest = digests.of(content)
    (folder / "blobs" / digest.replace(":", "-")).write_bytes(content)
    return digest, len(content)


def test_a_folder_with_models_gives_a_hint_and_an_empty_one_none(ollama: Path, tmp_path: Path) -> None:
    said = imports.hint(ollama)
    assert said and said.startswith("1 model of Ollama in ") and f"import_models {ollama}" in said
    assert imports.hint(tmp_path / "nowhere") is None


def test_models_come_over_byte_for_byte_and_once(ollama: Path, store: Path, people: People) -> None:
    call_command("import_models", str(ollama))
    model = resolve.find("mario:v1", people.charlie)
    place = ollama / "manifests" / "registry.ollama.ai" / "library" / "mario" / "v1"
    assert bytes(model.manifest.body) == place.read_bytes()
    assert (model.host, model.published) == ("registry.ollama.ai", True)
    assert resolve.version("mario:v1", people.charlie).system == "You are Mario."
    call_command("import_models", str(ollama))
    assert Model.objects.count() == 1


def test_a_file_that_is_not_what_its_name_says_stays_out(ollama: Path, store: Path, db: None) -> None:
    (ollama / "blobs" / digests.of(b"You are Mario.").replace(":", "-")).write_bytes(b"You are Luigi.")
    (one,) = imports.found(ollama)
    with pytest.raises(Problem, match="digest mismatch"):
        imports.bring(one, folder=ollama, report=lambda line: None)
    with pytest.raises(CommandError, match=r"Could not be brought over: mario:v1\."):
        call_command("import_models", str(ollama))
    assert not Model.objects.exists()


def test_a_missing_file_is_named(ollama: Path, store: Path, db: None) -> None:
    (ollama / "blobs" / digests.of(b"You are Mario.").replace(":", "-")).unlink()
    (one,) = imports.found(ollama)
    with pytest.raises(Problem, match="is missing"):
        imports.bring(one, folder=ollama, report=lambda line: None)
