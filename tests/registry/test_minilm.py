"""The real all-MiniLM-L6-v2 through the converter, against vectors that were computed without it."""

import json
from pathlib import Path

import numpy

from tests.converting import convert
from tests.registry.native import loaded

DATA = Path(__file__).parent.parent / "data" / "minilm"


def test_fifty_sentences_lie_where_the_published_weights_put_them(minilm: Path, tmp_path: Path) -> None:
    files = {str(path.relative_to(minilm)): path for path in minilm.rglob("*") if path.is_file()}
    assert convert(files, tmp_path / "minilm.gguf") == {"file_type": "F32"}
    sentences = json.loads((DATA / "sentences.json").read_text(encoding="utf-8"))
    expected = numpy.load(DATA / "reference.npy")
    with loaded(tmp_path / "minilm.gguf", embedding=True) as model:
        found = numpy.stack([model.vector(model.tokens(text)) for text in sentences])
    assert expected.shape == found.shape == (50, 384)
    numpy.testing.assert_allclose(numpy.linalg.norm(expected, axis=1), 1, atol=1e-5)
    assert float((found * expected).sum(axis=1).min()) >= 0.999
    assert float(expected[0] @ expected[29]) < 0.9
