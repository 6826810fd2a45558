"""Small model files of every kind: a vocabulary and a template, no weights."""

from collections.abc import Callable, Iterator
from pathlib import Path

import gguf
import pytest

from apps.inference.prompt.client import Renderer

MakeModel = Callable[..., Path]
MakeRenderer = Callable[..., Renderer]


def _letters() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte) for byte in shown] + [chr(256 + place) for place in range(len(hidden))]


def _write(path: Path, template: str, add_bos: bool) -> None:
    tokens = ["<s>", "</s>", *_letters(), "he", "ll"]
    kinds = [gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.NORMAL] * (len(tokens) - 2)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["h e", "l l"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(add_bos)
    if template:
        writer.add_chat_template(template)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    """A file of 260 tokens: the bytes, `he`, `ll`, and the marks <s> and </s>."""
    folder = tmp_path_factory.mktemp("vocabularies")

    def make(template: str = "", *, add_bos: bool = False) -> Path:
        path = folder / f"{len(list(folder.iterdir()))}.gguf"
        _write(path, template, add_bos)
        return path

    return make


@pytest.fixture
def make_renderer(make_model: MakeModel) -> Iterator[MakeRenderer]:
    made: list[Renderer] = []

    def make(template: str = "", *, deadline: float = 5.0, path: Path | None = None) -> Renderer:
        made.append(Renderer(model_path=str(path or make_model(template)), deadline=deadline))
        return made[-1]

    yield make
    for renderer in made:
        renderer.close()


@pytest.fixture(scope="session")
def qwen(gguf_path: Path) -> Iterator[Renderer]:
    """The real model's child, shared by the tests that leave it whole."""
    renderer = Renderer(model_path=str(gguf_path))
    yield renderer
    renderer.close()
