"""Images in the engine, over a tiny llama and tiny projectors of random weights: they prove the way, not the sight."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from apps.errors import Problem
from apps.inference.engine import llama, projector
from apps.inference.engine.engine import BLIND
from apps.inference.engine.eyes import Memory
from apps.inference.engine.loading import Load, LoadFailed
from apps.inference.engine.vision import Rows, expand, place, places, row_ids
from tests.inference.engine import tiny, tiny_llava
from tests.inference.engine.conftest import Bench
from tests.inference.engine.sighted import Reference, Sighted
from tests.inference.engine.tiny_llava import ROWS, picture

CAT, DOG = picture(1), picture(2, form="JPEG", size=(64, 20))
MARKED = len("<start_of_image><end_of_image>") + 6  # tokens; a byte each, and what llama.cpp puts before and behind


@pytest.fixture(scope="module")
def sighted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sighted]:
    folder = tmp_path_factory.mktemp("llava")
    yield Sighted(folder, tiny_llava.write_projector(folder / "projector.gguf"))


@pytest.fixture(scope="module")
def both_ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sighted]:
    """A model whose rows of an image see one another."""
    folder = tmp_path_factory.mktemp("gemma")
    yield Sighted(folder, tiny_llava.write_looking_both_ways(folder / "projector.gguf"), context=192)


# --- As llama.cpp's own helper does it ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sighted", "both_ways"])
@pytest.mark.parametrize("image", [CAT, DOG])
def test_the_rows_are_those_of_llama_cpp_s_own_helper(kind: str, image: bytes, request: pytest.FixtureRequest) -> None:
    model: Sighted = request.getfixturevalue(kind)
    look = model.projector.read(image)
    pieces = look.pieces()
    look.close()
    (rows,) = [piece for piece in pieces if isinstance(piece, Rows)]
    expected = Reference(model).rows(image)
    assert expected.shape == (ROWS, tiny.WIDTH)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(rows.values, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["sighted", "both_ways"])
def test_a_prompt_with_two_images_means_what_the_helper_makes_of_it(kind: str, request: pytest.FixtureRequest) -> None:
    model: Sighted = request.getfixturevalue(kind)
    expected = Reference(model).logits("see <__media__> and <__media__>!", CAT, DOG)
    viewers = model.viewers()
    see, also, end = (model.model.tokenise(text, beginning=False).tolist() for text in ("see ", " and ", "!"))
    answer = viewers.look("a", see, CAT, also, DOG, end, num_predict=1)
    assert answer == (int(expected.argmax()),)
    np.testing.assert_allclose(model.model._rows[0], expected, atol=0.05)


# --- Order, and what is reused -----------------------------------------------------------------------------------


def test_images_are_seen_in_their_order(sighted: Sighted) -> None:
    viewers = sighted.viewers()
    ahead = viewers.look("a", "first ", CAT, " then ", DOG, "?")
    other = viewers.look("b", "first ", DOG, " then ", CAT, "?", key="bob")
    again = viewers.look("c", "first ", CAT, " then ", DOG, "?", key="charlie")
    assert ahead != other
    assert ahead == again


def test_what_an_image_shows_makes_a_difference(sighted: Sighted) -> None:
    viewers = sighted.viewers()
    assert len({viewers.look(str(seed), "see ", picture(seed), "?", key=str(seed)) for seed in range(3)}) > 1


def test_an_image_that_comes_again_is_encoded_once(sighted: Sighted) -> None:
    viewers = sighted.viewers()
    first = viewers.look("a", CAT, " and ", CAT, "?")
    assert viewers.watched.encoded == [CAT]
    assert viewers.ends["a"].prompt_tokens == 1 + 2 * ROWS + len(" and ?")
    viewers.look("b", "something else ", CAT)
    assert viewers.watched.encoded == [CAT]
    assert viewers.look("c", CAT, " and ", CAT, "?") == first


def test_what_one_user_showed_is_encoded_anew_for_another(sighted: Sighted) -> None:
    """Or the time that it takes would tell what others have shown."""
    viewers = sighted.viewers()
    viewers.look("a", CAT, key="alice")
    viewers.look("b", CAT, key="bob")
    assert viewers.watched.encoded == [CAT, CAT]
    assert viewers.ends["b"].cached_tokens == 0


def test_the_same_image_in_the_same_place_is_a_prefix(sighted: Sighted) -> None:
    viewers = sighted.viewers()
    viewers.look("a", "see ", CAT, " what?")
    viewers.look("b", "see ", CAT, " where?")
    assert viewers.ends["b"].cached_tokens == 1 + len("see ") + ROWS + len(" wh")


def test_another_image_in_the_same_place_is_not(sighted: Sighted) -> None:
    viewers = sighted.viewers()
    viewers.look("a", "see ", CAT, " what?")
    viewers.look("b", "see ", DOG, " what?")
    assert viewers.ends["b"].cached_tokens == 1 + len("see ")


def test_a_prefix_never_ends_inside_an_image(sighted: Sighted) -> None:
    """The last token is always computed, and here that is a row of the image."""
    viewers = sighted.viewers()
    first = viewers.look("a", "see ", CAT)
    assert viewers.look("b", "see ", CAT) == first
    assert viewers.ends["b"].cached_tokens == 1 + len("see ")


def test_a_conversation_with_an_image_goes_on_where_it_was(sighted: Sighted) -> None:
    viewers = sighted.viewers()
    said = "".join(chr(token - 3) for token in viewers.look("a", "see ", CAT, " what?", num_predict=4))
    viewers.show("b", "see ", CAT, " what?" + said.encode("latin-1").decode("ascii", "ignore") + " and?")
    viewers.until("b")
    assert viewers.ends["b"].cached_tokens >= 1 + len("see  what?") + ROWS
    assert viewers.watched.encoded == [CAT]


# --- Together with others ----------------------------------------------------------------------------------------


def test_a_text_says_the_same_beside_an_image(sighted: Sighted) -> None:
    alone = sighted.viewers().look("a", "tell me", num_predict=20)
    viewers = sighted.viewers()
    viewers.show("a", "tell me", num_predict=20)
    viewers.show("b", "see ", CAT, " and ", DOG, "?", key="bob", num_predict=20)
    viewers.until("a", "b")
    assert viewers.ends["a"].output_ids == alone
    assert len(viewers.ends["b"].output_ids) == 20


def test_an_image_is_never_computed_with_anything_else(sighted: Sighted) -> None:
    viewers = sighted.viewers()
    viewers.show("a", "tell me", num_predict=30)
    viewers.show("b", "see ", CAT, " what?", key="bob")
    viewers.arrive()
    viewers.until("a", "b")
    looks = [step for step in viewers.recorder.chunks if any(chunk.embeddings is not None for chunk in step)]
    assert looks
    assert all(len(step) == 1 for step in looks)
    assert sum(len(step[0].tokens) for step in looks) == ROWS
    assert all((chunk.tokens >= 0).all() for step in viewers.recorder.chunks for chunk in step if step not in looks)


def test_while_somebody_reads_an_image_takes_no_more_than_a_step(sighted: Sighted) -> None:
    viewers = sighted.viewers(step_tokens=8)
    viewers.show("a", "tell me", num_predict=60)
    viewers.steps(4)
    viewers.show("b", "see ", CAT, " what?", key="bob")
    viewers.arrive()
    viewers.until("a", "b")
    looks = [step[0] for step in viewers.recorder.chunks if step[0].embeddings is not None]
    assert [len(chunk.tokens) for chunk in looks] == [8] * (ROWS // 8)


def test_rows_that_see_one_another_come_all_at_once(both_ways: Sighted) -> None:
    viewers = both_ways.viewers(step_tokens=4)
    viewers.show("a", "tell me", num_predict=60)
    viewers.steps(4)
    viewers.show("b", "see ", CAT, " what?", key="bob")
    viewers.arrive()
    viewers.until("a", "b")
    (look,) = [step[0] for step in viewers.recorder.chunks if step[0].embeddings is not None]
    assert (len(look.tokens), look.causal) == (ROWS, False)
    assert viewers.ends["b"].prompt_tokens == 1 + len("see  what?") + ROWS + MARKED


def test_the_words_around_an_image_are_the_projector_s(both_ways: Sighted) -> None:
    look = both_ways.projector.read(CAT)
    before, rows, behind = look.pieces()
    look.close()
    assert isinstance(rows, Rows)
    assert [bytes(token - 3 for token in words if token >= 3) for words in (before, behind)] == [
        "▁<start_of_image>".encode(),
        "▁<end_of_image>".encode(),
    ]


def test_an_answer_behind_an_image_ends_where_the_context_is_full(sighted: Sighted) -> None:
    """Nothing is forgotten in its middle: that could cut the image."""
    viewers = sighted.viewers()
    viewers.show("a", "see ", CAT, context=40, num_predict=200, shift=True)
    viewers.until("a")
    assert viewers.ends["a"].reason == "length"
    assert viewers.ends["a"].prompt_tokens + viewers.ends["a"].output_tokens <= 41


def test_the_words_of_a_prompt_are_penalised_and_its_images_are_not(sighted: Sighted) -> None:
    free = sighted.viewers().look("a", "see ", CAT, "?", num_predict=30)
    bound = sighted.viewers().look("a", "see ", CAT, "?", num_predict=30, penalty=1.9)
    assert len(set(bound)) > len(set(free))


# --- What is refused ---------------------------------------------------------------------------------------------


def refusal(viewers: Bench, run: str) -> str:
    viewers.until(run)
    problem = viewers.ends[run].problem
    assert problem is not None
    assert (problem.code, viewers.ends[run].reason) == ("invalid", "error")
    return problem.message


@pytest.mark.parametrize("data", [b"", b"GIF89a", CAT[:60], b"RIFF\0\0\0\0WEBPVP8 ", b"ID3\3" + bytes(64)])
def test_what_is_no_whole_image_is_refused(sighted: Sighted, data: bytes) -> None:
    viewers = sighted.viewers()
    viewers.show("a", "see ", data)
    assert refusal(viewers, "a") == "an image could not be read"
    assert viewers.look("b", "see ", CAT)


def test_images_that_do_not_fit_are_refused_before_any_is_encoded(sighted: Sighted) -> None:
    viewers = sighted.viewers()
    viewers.show("a", *[picture(seed) for seed in range(8)])
    assert refusal(viewers, "a").startswith("the prompt with its images is longer than the context length")
    assert viewers.watched.encoded == []


def test_one_token_decides_whether_images_fit(sighted: Sighted) -> None:
    viewers = sighted.viewers()
    room = 64 - 1 - 1 - 2 * ROWS
    viewers.show("a", CAT, DOG, "x" * (room + 1), context=64)
    refusal(viewers, "a")
    viewers.show("b", CAT, DOG, "x" * room, context=64, num_predict=1)
    viewers.until("b")
    assert (viewers.ends["b"].problem, viewers.ends["b"].prompt_tokens) == (None, 63)


def test_a_model_without_a_projector_says_so(sighted: Sighted) -> None:
    viewers = sighted.viewers()
    viewers.engine._eyes = None
    viewers.show("a", "see ", CAT)
    assert refusal(viewers, "a") == BLIND


def test_an_image_that_needs_more_than_a_batch_at_once_is_refused(tmp_path: Path) -> None:
    model = Sighted(tmp_path, tiny_llava.write_looking_both_ways(tmp_path / "p.gguf"), batch=8)
    viewers = model.viewers()
    viewers.show("a", CAT)
    assert refusal(viewers, "a") == projector.TOO_FINE


def test_a_run_that_is_cancelled_while_its_image_is_read_ends_at_once(sighted: Sighted) -> None:
    viewers = sighted.viewers()
    viewers.show("a", CAT, "?")
    viewers.engine.cancel("a")
    viewers.steps(1)
    assert viewers.ends["a"].reason == "cancelled"
    assert viewers.look("b", CAT, "?", key="bob")
    assert list(viewers.ends) == ["a", "b"]


@pytest.mark.parametrize("broken", [b"no gguf at all", b""])
def test_a_projector_that_is_none_fails_the_load(tmp_path: Path, broken: bytes) -> None:
    (tmp_path / "p.gguf").write_bytes(broken)
    with pytest.raises(LoadFailed, match="projector"):
        Sighted(tmp_path, tmp_path / "p.gguf")


def test_a_projector_of_another_model_fails_the_load(tmp_path: Path) -> None:
    path = tiny_llava.write_projector(tmp_path / "p.gguf", width=2 * tiny.WIDTH)
    with pytest.raises(LoadFailed, match="made for another model"):
        Sighted(tmp_path, path)


def test_a_model_loads_without_a_projector(tmp_path: Path) -> None:
    load = Load(os.open(tiny.write_model(tmp_path / "m.gguf"), os.O_RDONLY), context=64, gpu_layers=0)
    assert projector.beside(llama.Llama(load, progress=lambda fraction: None), load) is None


def test_an_image_that_only_begins_like_one_is_refused(sighted: Sighted) -> None:
    with pytest.raises(Problem, match="an image could not be read"):
        sighted.projector.read(b"\xff\xd8\xff" + bytes(100))


# --- Pure parts --------------------------------------------------------------------------------------------------


def rows_of(name: bytes, count: int = 3) -> Rows:
    return Rows(row_ids(name, 0, count), np.zeros((count, 4), dtype=np.float32))


def test_places_are_counted_down_from_minus_one() -> None:
    assert [place(0), place(5)] == [-1, -6]
    assert places(np.asarray([7, -2, 8, -1, -2], dtype=np.int32)) == [1, 0, 1]


def test_an_image_s_words_and_rows_stand_where_its_place_was() -> None:
    cat, dog = rows_of(b"cat"), rows_of(b"dog", 2)
    around = np.asarray([50, 51], dtype=np.int32)
    tokens, pictures = expand(np.asarray([7, -2, 8, -1], dtype=np.int32), {0: [cat], 1: [around, dog]})
    assert tokens.tolist() == [7, 50, 51, *dog.ids.tolist(), 8, *cat.ids.tolist()]
    assert [(one.start, one.end, one.rows) for one in pictures] == [(3, 5, dog), (6, 9, cat)]


def test_rows_have_numbers_below_zero_that_only_the_same_image_has() -> None:
    cat = row_ids(b"cat", 0, 500)
    assert (cat < 0).all()
    assert len(set(cat.tolist())) == 500
    assert (cat == row_ids(b"cat", 0, 500)).all()
    assert not set(cat.tolist()) & {*row_ids(b"dog", 0, 500).tolist(), *row_ids(b"cat", 1, 500).tolist()}


def test_what_was_seen_longest_ago_is_forgotten_first() -> None:
    memory = Memory(limit=100)  # bytes; an image here has 48
    for name in (b"a", b"b"):
        memory.put(("alice", name), (rows_of(name),))
    assert memory.get(("alice", b"a"))
    memory.put(("alice", b"c"), (rows_of(b"c"),))
    assert [bool(memory.get(("alice", name))) for name in (b"a", b"b", b"c")] == [True, False, True]
    assert not memory.get(("bob", b"a"))


def test_an_image_larger_than_the_memory_is_not_kept() -> None:
    memory = Memory(limit=100)
    memory.put(("alice", b"a"), (rows_of(b"a", 50),))
    assert not memory.get(("alice", b"a"))
    memory.put(("alice", b"b"), (rows_of(b"b"),))
    assert memory.get(("alice", b"b"))
