"""Text that may be sent: half characters and stop strings."""

from hypothesis import given
from hypothesis import strategies as st

from apps.inference.engine.detokenize import TextStream


def streamed(stream: TextStream, pieces: list[bytes]) -> str:
    text = ""
    for piece in pieces:
        text += stream.push(piece)
        if stream.stopped:
            break
    return text + stream.close()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in zip(edges, edges[1:], strict=False)]


def first_stop(text: str, stops: list[str]) -> str:
    """By the definition: the stop string completed first, the longer of two that end together."""
    for end in range(len(text) + 1):
        starts = [end - len(stop) for stop in stops if stop and text[:end].endswith(stop)]
        if starts:
            return text[: min(starts)]
    return text


def test_half_a_character_is_held_until_it_is_whole() -> None:
    stream = TextStream()
    assert [stream.push(piece) for piece in (b"a\xf0\x9f", b"\x98", b"\x80b")] == ["a", "", "😀b"]


def test_half_a_character_at_the_end_is_no_text() -> None:
    assert streamed(TextStream(), [b"ok\xe2\x82"]) == "ok"


def test_bytes_that_are_no_character_become_a_replacement() -> None:
    assert streamed(TextStream(), [b"a\xffb"]) == "a\ufffdb"


def test_a_stop_string_over_two_tokens_is_not_sent_in_part() -> None:
    stream = TextStream(["END"])
    assert [stream.push(piece) for piece in (b"the E", b"N", b"D of it")] == ["the ", "", ""]
    assert stream.stopped


def test_what_only_looked_like_a_stop_string_is_sent_after_all() -> None:
    stream = TextStream(["END"])
    assert stream.push(b"EN") == ""
    assert stream.push(b"X") == "ENX"
    assert stream.push(b"E") == "" and stream.close() == "E"


def test_an_empty_stop_string_stops_nothing() -> None:
    assert streamed(TextStream(["", "b"]), [b"aab"]) == "aa"


@given(
    text=st.text(alphabet="ab é😀", max_size=30),
    stops=st.lists(st.text(alphabet="ab é😀", max_size=4), max_size=4),
    places=st.lists(st.integers(min_value=0, max_value=200), max_size=12),
)
def test_the_text_does_not_depend_on_how_it_was_cut(text: str, stops: list[str], places: list[int]) -> None:
    assert streamed(TextStream(stops), cut(text.encode(), places)) == first_stop(text, stops)
