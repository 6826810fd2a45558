"""What was tokenised before is not tokenised again, and for nobody else."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.inference.engine.seams import Seam, stands_alone
from apps.inference.engine.vocabulary import Vocabulary
from apps.inference.prompt.building import Builder
from apps.inference.prompt.job import PromptJob
from apps.inference.prompt.memory import Memory
from apps.inference.types import Message
from tests.inference.prompt.words import Letters, read

CHAT = "{% for m in messages %}{{ m.content }};{% endfor %}a:"


def test_only_what_is_new_is_tokenised_and_the_tokens_are_the_same() -> None:
    letters = Letters(seam=";", add_bos=True)
    memory = Memory(letters)
    assert read(memory.tokens("one;two;a:", first=True, key="ann")) == "^one;two;a:"
    letters.read.clear()
    assert read(memory.tokens("one;two;three;four;a:", first=True, key="ann")) == "^one;two;three;four;a:"
    assert letters.read == ["", "three;four;"]
    letters.read.clear()
    assert read(memory.tokens("new;two;other;four;", first=False, key="ann")) == "new;two;other;four;"
    assert letters.read == ["new;", "other;"]


def test_what_one_has_said_makes_nobody_else_s_answer_come_sooner() -> None:
    letters = Letters(seam=";")
    memory = Memory(letters)
    for key in ("ann", "bob", ""):
        letters.read.clear()
        assert read(memory.tokens("one;two", first=False, key=key)) == "one;two"
        assert letters.read == ["one;two"]
    letters.read.clear()
    memory.tokens("one;two", first=False, key="")
    assert letters.read == ["one;two"]  # and without a key nothing is remembered


def test_a_conversation_of_a_user_is_remembered_by_the_builder() -> None:
    letters = Letters(CHAT, seam=";")
    builder = Builder(letters)
    said = (Message("user", "hello"), Message("assistant", "well"), Message("user", "so"))
    for key, new in (("ann", "hello;well;so;a:"), ("bob", "hello;well;so;a:"), ("ann", None)):
        letters.read.clear()
        prompt = builder.build(PromptJob("chat", 1000, messages=said, share_key=key))
        assert read(prompt.tokens) == "hello;well;so;a:"
        assert (new in letters.read) == (new is not None)


def test_what_was_not_used_for_longest_is_forgotten() -> None:
    letters = Letters(seam=";")
    memory = Memory(letters, room=400)  # a piece of ten weighs 84
    for number in range(4):
        memory.tokens(f"{number}........;", first=False, key="ann")
    memory.tokens("0........;", first=False, key="ann")
    memory.tokens("4........;", first=False, key="ann")
    letters.read.clear()
    for number in (0, 2, 3, 4, 1):
        memory.tokens(f"{number}........;", first=False, key="ann")
    assert letters.read == ["1........;"]


def test_more_than_there_is_room_for_is_tokenised_all_the_same() -> None:
    memory = Memory(Letters(seam=";"), room=100)
    text = "word;" * 50 + "end"
    assert [read(memory.tokens(text, first=False, key="ann")) for _ in range(2)] == [text, text]


def test_without_a_seam_the_vocabulary_is_asked_each_time() -> None:
    letters = Letters()
    memory = Memory(letters)
    assert [read(memory.tokens("a;b", first=False, key="ann")) for _ in range(2)] == ["a;b", "a;b"]
    assert letters.read == ["a;b", "a;b"]


@pytest.fixture(scope="module")
def real(gguf_path: Path) -> Vocabulary:
    return Vocabulary(str(gguf_path))


WORDS = ["hello", " world", "  ", "\n", "é", "漢字", "😀", "<", "|>", "<|im", "<|im_end|>", "<|im_start|>user\n"]


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(st.lists(st.sampled_from(WORDS), max_size=14).map("".join), max_size=6), first=st.booleans())
def test_the_real_vocabulary_s_pieces_are_tokenised_as_the_whole(
    real: Vocabulary, texts: list[str], first: bool
) -> None:
    assert real.seam == Seam("<|im_end|>", 151645)
    memory = Memory(real)
    for text in [*texts, *texts]:
        assert memory.tokens(text, first=first, key="ann") == real.tokenize(text, add_special=first, parse_special=True)


@pytest.mark.parametrize(
    ("marker", "others", "alone"),
    [
        ("<|end|>", ["<|start|>", ""], True),
        ("<|end|>", ["<|end|>x"], False),  # it is a part of another
        ("<|end|>", ["end"], False),
        ("<|end|>", ["x<"], False),  # it begins with what another ends with
        ("<|end|>", [">>"], False),
        ("aa", [], False),  # "aaa" could be read in two ways
        ("", [], False),
        ("<" + "x" * 64 + "!", [], False),  # a hostile file's: too long to be looked at
        ("<|end|>", ["y"] * 20_001, False),
    ],
)
def test_a_seam_overlaps_with_nothing(marker: str, others: list[str], alone: bool) -> None:
    assert stands_alone(marker, others) is alone
