"""A vocabulary without weights (apps/inference/engine/vocabulary.py)."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.inference.engine.vocabulary import Vocabulary, VocabularyError
from tests.inference.prompt.conftest import MakeModel


@pytest.fixture(scope="module")
def small(make_model: MakeModel) -> Iterator[Vocabulary]:
    vocabulary = Vocabulary(str(make_model("{{ bos_token }}", add_bos=True)))
    yield vocabulary
    vocabulary.close()


@pytest.fixture(scope="module")
def real(gguf_path: Path) -> Iterator[Vocabulary]:
    vocabulary = Vocabulary(str(gguf_path))
    yield vocabulary
    vocabulary.close()


def test_what_a_file_says_of_its_vocabulary(small: Vocabulary, real: Vocabulary) -> None:
    assert (small.size, small.add_bos, small.bos, small.n_ctx_train) == (260, True, "<s>", 512)
    assert small.chat_template() == "{{ bos_token }}"
    assert (real.size, real.add_bos, real.marks["eos_token"], real.n_ctx_train) == (151936, False, "<|im_end|>", 32768)
    assert "<|im_start|>" in real.chat_template()


def test_marks_are_read_only_where_asked_for(small: Vocabulary) -> None:
    assert small.tokenize("hello<s>", add_special=True, parse_special=True)[0::4] == [0, 0]
    assert small.tokenize("<s>", add_special=False, parse_special=True) == [0]
    assert len(small.tokenize("<s>", add_special=False, parse_special=False)) == 3


def test_the_real_vocabulary_tokenises_as_ollama_recorded_it(real: Vocabulary) -> None:
    text = "<|im_start|>system\nYou are Qwen, "
    assert real.tokenize(text, add_special=True, parse_special=True)[:6] == [151644, 8948, 198, 2610, 525, 1207]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_what_is_tokenised_can_be_read_again(real: Vocabulary, text: str) -> None:
    assert real.detokenize(real.tokenize(text, add_special=False, parse_special=True)).decode() == text


def test_half_a_surrogate_and_a_nul_do_no_harm(small: Vocabulary) -> None:
    assert small.detokenize(small.tokenize("a\ud800\0b", add_special=False, parse_special=True)) == b"a?\0b"


def test_nothing_is_no_tokens(small: Vocabulary) -> None:
    assert small.tokenize("", add_special=False, parse_special=True) == []
    assert small.detokenize([]) == b""


@pytest.mark.parametrize("content", [b"", b"GGUF", b"not a model at all"])
def test_a_file_that_is_no_model_is_refused_without_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(content)
    with pytest.raises(VocabularyError) as caught:
        Vocabulary(str(path))
    assert str(path) not in str(caught.value)


def test_the_child_loads_neither_django_nor_numpy_and_leaves_the_package_whole_for_others() -> None:
    code = (
        "import sys, apps.inference.prompt.child; assert not {'django', 'numpy', 'llama_cpp'} & set(sys.modules); "
        "import llama_cpp; llama_cpp.Llama, llama_cpp.llama_decode"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
