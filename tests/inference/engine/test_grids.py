"""Images whose rows are numbered in several dimensions (M-RoPE), over a tiny Qwen2-VL of random weights."""

from collections.abc import Iterator

import numpy as np
import pytest

from apps.inference.engine.projector import UNPLACED, Look
from apps.inference.engine.vision import Grid, Picture, Rows, row_ids
from tests.inference.engine import tiny_llava
from tests.inference.engine.sighted import Reference, Sighted
from tests.inference.engine.test_vision import refusal
from tests.inference.engine.tiny_llava import CELL, picture

WIDE, TALL = picture(1, size=(6 * CELL, 2 * CELL)), picture(2, size=(2 * CELL, 5 * CELL))
WIDE_ROWS, TALL_ROWS = 12, 10
AROUND = len("<|vision_start|><|vision_end|>") + 6  # tokens; a byte each, and what llama.cpp puts before and behind


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sighted]:
    folder = tmp_path_factory.mktemp("qwen")
    projector = tiny_llava.write_with_grid(folder / "projector.gguf")
    yield Sighted(folder, projector, kind="qwen2vl", context=192)


def rows_of(model: Sighted, image: bytes) -> Rows:
    look = model.projector.read(image)
    (rows,) = [piece for piece in look.pieces() if isinstance(piece, Rows)]
    look.close()
    return rows


@pytest.mark.parametrize(("image", "rows", "span"), [(WIDE, WIDE_ROWS, 6), (TALL, TALL_ROWS, 5)])
def test_an_image_takes_as_many_positions_as_its_longer_side(qwen: Sighted, image: bytes, rows: int, span: int) -> None:
    seen = rows_of(qwen, image)
    assert (len(seen.ids), seen.span) == (rows, span)
    assert seen.grid is not None
    time, height, width, rest = seen.grid.positions.tolist()
    across = 6 if image is WIDE else 2
    assert (set(time), set(rest)) == ({0}, {0})
    assert height == [at // across for at in range(rows)]
    assert width == [at % across for at in range(rows)]


@pytest.mark.parametrize("images", [(WIDE, TALL), (TALL, WIDE), (WIDE, WIDE)])
def test_a_prompt_with_two_images_means_what_the_helper_makes_of_it(qwen: Sighted, images: tuple[bytes, bytes]) -> None:
    expected = Reference(qwen).logits("see <__media__> and <__media__>!", *images)
    viewers = qwen.viewers()
    see, also, end = (qwen.model.tokenise(text, beginning=False).tolist() for text in ("see ", " and ", "!"))
    answer = viewers.look("a", see, images[0], also, images[1], end, num_predict=1)
    assert answer == (int(expected.argmax()),)
    np.testing.assert_allclose(qwen.model._rows[0], expected, atol=0.05)


def test_the_helper_would_notice_if_places_were_counted_by_rows(qwen: Sighted, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the test above cannot pass by chance."""
    expected = Reference(qwen).logits("see <__media__>!", WIDE)
    monkeypatch.setattr(Picture, "saved", 0)
    see, end = (qwen.model.tokenise(text, beginning=False).tolist() for text in ("see ", "!"))
    qwen.viewers().look("a", see, WIDE, end, num_predict=1)
    assert np.abs(qwen.model._rows[0] - expected).max() > 0.1


def test_an_image_that_is_computed_in_parts_means_the_same(qwen: Sighted) -> None:
    alone = qwen.viewers().look("a", "see ", WIDE, " what?")
    viewers = qwen.viewers(step_tokens=5)
    viewers.show("other", "tell me", num_predict=60)
    viewers.steps(4)
    viewers.show("a", "see ", WIDE, " what?", key="bob")
    viewers.arrive()
    viewers.until("other", "a")
    looks = [step[0] for step in viewers.recorder.chunks if step[0].embeddings is not None]
    assert [len(chunk.tokens) for chunk in looks] == [5, 5, 2]
    assert viewers.ends["a"].output_ids == alone


def test_a_prefix_is_cut_behind_an_image_and_not_beside_it(qwen: Sighted) -> None:
    alone = qwen.viewers().look("a", "see ", WIDE, " where?")
    viewers = qwen.viewers()
    viewers.look("b", "see ", WIDE, " what?")
    assert viewers.look("c", "see ", WIDE, " where?") == alone
    assert viewers.ends["c"].cached_tokens == 1 + len("see  wh") + WIDE_ROWS + AROUND


def test_a_prefix_with_an_image_is_copied_while_its_owner_goes_on(qwen: Sighted) -> None:
    alone = qwen.viewers().look("a", "see ", TALL, " where?", num_predict=8)
    viewers = qwen.viewers()
    viewers.show("b", "see ", TALL, " what?", num_predict=60)
    viewers.arrive()
    viewers.steps(8)
    assert "b" not in viewers.ends
    viewers.show("c", "see ", TALL, " where?", num_predict=8)
    viewers.arrive()
    viewers.until("c", "b")
    assert viewers.ends["c"].output_ids == alone
    assert viewers.ends["c"].cached_tokens == 1 + len("see  wh") + TALL_ROWS + AROUND


def test_what_was_parked_with_an_image_is_as_it_was(qwen: Sighted) -> None:
    alone = qwen.viewers().look("a", "see ", WIDE, " where?")
    viewers = qwen.viewers()
    viewers.look("b", "see ", WIDE, " what?")
    (slot,) = [slot for slot in viewers.engine._slots.all if slot.length]
    slot.parked = qwen.model.save(slot.index)
    qwen.model.clear(slot.index)
    assert viewers.look("c", "see ", WIDE, " where?") == alone
    assert viewers.ends["c"].cached_tokens > WIDE_ROWS


def test_a_conversation_goes_on_behind_an_image(qwen: Sighted) -> None:
    viewers = qwen.viewers()
    said = list(viewers.look("a", "see ", WIDE, " what?", num_predict=6))
    goes_on = viewers.look("b", "see ", WIDE, " what?", said, " and?")
    assert viewers.ends["b"].cached_tokens >= 1 + len("see  what?") + WIDE_ROWS + AROUND + len(said) - 1
    anew = qwen.viewers().look("c", "see ", WIDE, " what?", said, " and?")
    assert goes_on == anew


def test_text_alone_is_answered_as_ever(qwen: Sighted) -> None:
    assert len(qwen.viewers().look("a", "tell me", num_predict=20)) == 20


def test_places_that_depend_on_more_than_the_beginning_are_refused(
    qwen: Sighted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Look, "_moves", lambda self, chunk: False)
    viewers = qwen.viewers()
    viewers.show("a", WIDE)
    assert refusal(viewers, "a") == UNPLACED


# --- Pure parts --------------------------------------------------------------------------------------------------


def test_a_grid_s_places_move_with_the_image_but_for_the_last_section() -> None:
    positions = np.asarray([[0, 0], [0, 1], [0, 0], [7, 8]], dtype=np.int32)
    picture = Picture(4, Rows(row_ids(b"cat", 0, 2), np.zeros((2, 4), dtype=np.float32), grid=Grid(positions, 1)))
    assert picture.saved == 1
    part = picture.positions(5, 1, begin=10)
    assert part is not None
    assert part.tolist() == [[10], [11], [10], [8]]
    assert part.flags["C_CONTIGUOUS"]


def test_rows_without_a_grid_take_a_position_each() -> None:
    plain = Picture(4, Rows(row_ids(b"cat", 0, 3), np.zeros((3, 4), dtype=np.float32)))
    assert (plain.saved, plain.positions(4, 2, begin=9)) == (0, None)
