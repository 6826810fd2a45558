"""How reference.npy was made: all-MiniLM-L6-v2 in 32-bit numpy, by the paper's formulas, with a WordPiece of its own.

Run once by hand: `python tests/data/minilm/make_reference.py FOLDER`, where FOLDER holds model.safetensors and
tokenizer.json of sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0; as tests/minilm.py fetches it). It shares no code
with Corral's converter or with llama.cpp, so that an error in either shows. No sentence has more than 128 tokens.
"""

import json
import math
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy

HERE = Path(__file__).parent
LAYERS, HEADS, EPSILON = 6, 12, 1e-12

Weights = dict[str, Any]


def main(folder: Path) -> None:
    weights = load(folder / "model.safetensors")
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    sentences = json.loads((HERE / "sentences.json").read_text())
    vectors = numpy.stack([embed(tokens(text, vocabulary), weights) for text in sentences])
    numpy.save(HERE / "reference.npy", vectors.astype(numpy.float32))


def load(path: Path) -> Weights:
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    return {
        name: numpy.frombuffer(raw, "<f4", math.prod(it["shape"]), 8 + length + it["data_offsets"][0]).reshape(
            it["shape"]
        )
        for name, it in header.items()
        if name != "__metadata__" and it["dtype"] == "F32"
    }


def tokens(text: str, vocabulary: dict[str, int]) -> list[int]:
    pieces = [piece for word in words(text) for piece in split(word, vocabulary)]
    return [vocabulary[piece] for piece in ["[CLS]", *pieces, "[SEP]"]]


def words(text: str) -> list[str]:
    """Lower case, without accents; punctuation and Chinese characters stand alone."""
    plain = unicodedata.normalize("NFD", text.lower())
    spaced = ""
    for character in plain:
        kind = unicodedata.category(character)
        if kind == "Mn" or (kind.startswith("C") and character not in "\t\n\r"):
            continue
        alone = kind.startswith("P") or (ord(character) < 127 and kind.startswith("S")) or chinese(ord(character))
        spaced += f" {character} " if alone else character
    return spaced.split()


def chinese(code: int) -> bool:
    return (
        0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF or 0xF900 <= code <= 0xFAFF or 0x20000 <= code <= 0x2FA1F
    )


def split(word: str, vocabulary: dict[str, int]) -> list[str]:
    """The longest piece first, as WordPiece does it."""
    pieces: list[str] = []
    start = 0
    while start < len(word):
        prefix = "##" if start else ""
        end = next((end for end in range(len(word), start, -1) if prefix + word[start:end] in vocabulary), 0)
        if not end:
            return ["[UNK]"]
        pieces.append(prefix + word[start:end])
        start = end
    return pieces


def embed(ids: list[int], weights: Weights) -> Any:
    """The mean of the last layer's vectors, of length 1."""
    state = weights["embeddings.word_embeddings.weight"][ids]
    state = state + weights["embeddings.position_embeddings.weight"][: len(ids)]
    state = norm(state + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm", weights)
    for number in range(LAYERS):
        state = layer(state, f"encoder.layer.{number}", weights)
    mean = state.mean(axis=0)
    return mean / numpy.linalg.norm(mean)


def layer(state: Any, name: str, weights: Weights) -> Any:
    query, key, value = (
        heads(linear(state, f"{name}.attention.self.{it}", weights)) for it in ("query", "key", "value")
    )
    scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
    scores = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = (scores / scores.sum(axis=-1, keepdims=True)) @ value
    joined = mixed.transpose(1, 0, 2).reshape(state.shape)
    attended = linear(joined, f"{name}.attention.output.dense", weights)
    state = norm(state + attended, f"{name}.attention.output.LayerNorm", weights)
    inner = gelu(linear(state, f"{name}.intermediate.dense", weights))
    return norm(state + linear(inner, f"{name}.output.dense", weights), f"{name}.output.LayerNorm", weights)


def heads(state: Any) -> Any:
    return state.reshape(state.shape[0], HEADS, -1).transpose(1, 0, 2)


def linear(state: Any, name: str, weights: Weights) -> Any:
    return state @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def norm(state: Any, name: str, weights: Weights) -> Any:
    centred = state - state.mean(axis=-1, keepdims=True)
    scaled = centred / numpy.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def gelu(state: Any) -> Any:
    return 0.5 * state * (1 + numpy.vectorize(math.erf)(state / math.sqrt(2)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
