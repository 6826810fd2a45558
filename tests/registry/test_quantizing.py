"""Quantising and converting as a create does them: what is said, what is stored, and that a cancel leaves nothing."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import psutil
import pytest

from apps.accounts.models import User
from apps.errors import Problem
from apps.registry import blobs, drafts, gguf, paths, quantizing, resolve
from apps.registry.models import Blob, Model
from apps.registry.specs import CreateSpec
from apps.streams import jobs
from tests.gguf_files import tiny
from tests.registry.checkpoints import Checkpoint, decoder, encoder
from tests.registry.conftest import People
from tests.registry.native import loaded

Upload = Callable[[bytes, User], str]
TEXT = "hello world, hello 1234!"
GGUF = "application/vnd.ollama.image.model"


class Made:
    """A create with all that it said."""

    def __init__(self, user: User, spec: CreateSpec, check: Callable[[], None] = lambda: None) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []
        target = resolve.target(spec.target, user)
        self.model = drafts.build(spec=spec, user=user, target=target, report=self._hear, check=check)

    def _hear(self, status: str, **fields: Any) -> None:
        self.said.append((status, fields))

    @property
    def statuses(self) -> list[str]:
        return [status for status, _ in self.said]

    @property
    def file(self) -> Path:
        return blobs.path(self.model.manifest.document.of_type(GGUF)[0].digest)


@pytest.fixture
def files(upload: Upload, people: People, tmp_path: Path) -> Callable[[Checkpoint], dict[str, str]]:
    """A checkpoint's files, uploaded by alice: names and digests."""

    def files(checkpoint: Checkpoint) -> dict[str, str]:
        found = checkpoint.save(tmp_path / "model")
        return {name: upload(path.read_bytes(), people.alice) for name, path in found.items()}

    return files


Files = Callable[[Checkpoint], dict[str, str]]


def likeness(one: Path, other: Path) -> float:
    """The cosine of two models' logits for one text."""
    found = []
    for path in (one, other):
        with loaded(path) as model:
            found.append(model.logits(model.tokens(TEXT))[-1])
    return float(found[0] @ found[1] / numpy.linalg.norm(found[0]) / numpy.linalg.norm(found[1]))


def nothing_is_incoming() -> bool:
    running = [" ".join(child.cmdline()) for child in psutil.Process(os.getpid()).children()]
    return not list(paths.incoming().iterdir()) and not [line for line in running if "apps.registry" in line]


def test_safetensors_become_a_model(files: Files, people: People) -> None:
    made = Made(people.alice, CreateSpec("m", files=files(decoder("Qwen2ForCausalLM", dtype="F16"))))
    digest = made.model.manifest.document.layers[0].digest
    assert made.statuses == ["converting model", f"creating new layer {digest}", "writing manifest", "success"]
    assert made.model.manifest.config["model_family"] == "qwen2"
    assert made.model.manifest.config["file_type"] == "F16"
    assert made.model.manifest.capabilities == ["completion"]
    assert nothing_is_incoming()
    again = Made(people.alice, CreateSpec("n", files=files(decoder("Qwen2ForCausalLM", dtype="F16"))))
    assert again.statuses[1] == f"using existing layer {digest}"


def test_an_encoder_becomes_a_model_that_embeds(files: Files, people: People) -> None:
    made = Made(people.alice, CreateSpec("m", files=files(encoder())))
    assert made.model.manifest.capabilities == ["embedding"]


@pytest.mark.parametrize("wanted", ["Q8_0", "q4_k_m", "Q4_K_S", "BF16", "F32"])
def test_a_model_is_quantised_and_its_base_kept(wanted: str, files: Files, people: People) -> None:
    base = Made(people.alice, CreateSpec("base", files=files(decoder("LlamaForCausalLM", dtype="F16"))))
    before = base.file.read_bytes()
    made = Made(people.alice, CreateSpec("small", from_="base", quantize=wanted, system="s"))
    name = quantizing.named(wanted)
    assert made.statuses[0] == f"quantizing F16 model to {name}"
    assert "verifying conversion" in made.statuses
    first, last = made.said[0][1], made.said[made.statuses.index("verifying conversion") - 1][1]
    assert (first["digest"], first["completed"]) == ("0" * 19, 0)
    assert first["total"] == last["completed"] == last["total"] == gguf.read(base.file).tensor_bytes
    assert made.model.manifest.config["file_type"] == name
    assert gguf.read(made.file).metadata.get("general.file_type") == quantizing.FILE_TYPES[name]
    assert likeness(base.file, made.file) > 0.95
    assert base.file.read_bytes() == before
    assert nothing_is_incoming()


def test_safetensors_are_quantised_on_the_way(files: Files, people: People) -> None:
    made = Made(people.alice, CreateSpec("m", files=files(decoder("LlamaForCausalLM")), quantize="q8_0"))
    assert made.statuses[:2] == ["converting model", "quantizing F32 model to Q8_0"]
    assert {tensor.type for tensor in gguf.read(made.file).tensors} == {"Q8_0", "F32"}
    layers = {layer.blob_id for layer in made.model.manifest.layers.all()}
    stored = {row.digest for row in Blob.objects.exclude(possessions__isnull=False)}
    assert stored == layers | {made.model.manifest.config_blob_id}


def test_a_type_that_it_has_already_changes_nothing(files: Files, people: People) -> None:
    base = Made(people.alice, CreateSpec("base", files=files(decoder("LlamaForCausalLM", dtype="F16"))))
    made = Made(people.alice, CreateSpec("same", from_="base", quantize="f16"))
    assert made.file == base.file
    assert not [status for status in made.statuses if status.startswith("quantizing")]


@pytest.mark.parametrize("how", [{"file_type": 15}, {"file_type": 7}])
def test_what_is_quantised_already_is_refused(how: dict[str, int], upload: Upload, people: People) -> None:
    spec = CreateSpec("x", files={"m.gguf": upload(tiny(**how), people.alice)}, quantize="q8_0")
    with pytest.raises(Problem, match="only supported for F16, BF16 and F32") as raised:
        Made(people.alice, spec)
    assert raised.value.status == 500


def test_a_file_that_llama_cpp_cannot_read_fails_with_a_sentence(upload: Upload, people: People) -> None:
    spec = CreateSpec("x", files={"m.gguf": upload(tiny(file_type=1, architecture="nonsense"), people.alice)},
                      quantize="q8_0")  # fmt: skip
    with pytest.raises(Problem, match="cannot be quantized: .*unknown model architecture") as raised:
        Made(people.alice, spec)
    assert "/proc" not in raised.value.message
    assert nothing_is_incoming()


@pytest.mark.parametrize("looks", [1, 2, 3])
def test_a_cancel_ends_the_process_and_leaves_nothing(looks: int, files: Files, people: People) -> None:
    left = [looks]

    def check() -> None:
        left[0] -= 1
        if left[0] <= 0:
            raise jobs.Cancelled

    spec = CreateSpec("m", files=files(decoder("LlamaForCausalLM")), quantize="q8_0")
    before = set(Blob.objects.values_list("digest", flat=True))
    with pytest.raises(jobs.Cancelled):
        Made(people.alice, spec, check)
    assert nothing_is_incoming()
    assert set(Blob.objects.values_list("digest", flat=True)) == before
    assert not Model.objects.exists()


def test_an_architecture_that_cannot_be_converted_is_named(files: Files, people: People) -> None:
    checkpoint = decoder("LlamaForCausalLM")
    checkpoint.config["architectures"] = ["MambaForCausalLM"]
    with pytest.raises(Problem, match="unsupported architecture MambaForCausalLM") as raised:
        Made(people.alice, CreateSpec("m", files=files(checkpoint)))
    assert raised.value.status == 400


def test_files_of_somebody_else_are_as_absent_as_none(files: Files, people: People) -> None:
    with pytest.raises(Problem, match="not found"):
        Made(people.bob, CreateSpec("m", files=files(decoder("LlamaForCausalLM"))))
