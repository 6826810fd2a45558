"""Logprobs: how they are computed, and that they come with the text their tokens make."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.inference.engine.detokenize import TextStream
from apps.inference.engine.engine import Text
from apps.inference.engine.logprobs import Ledger, Logprob, weigh
from tests.fakes import ANSWER, answer
from tests.inference.engine.conftest import Bench


def test_a_logprob_is_the_logarithm_of_the_softmax() -> None:
    row = np.asarray([1.0, 3.0, 2.0, -1.0], dtype=np.float32)
    total = sum(math.exp(value) for value in (1, 3, 2, -1))
    logprob, top = weigh(row, 0, top=2)
    assert logprob == pytest.approx(1 - math.log(total))
    assert [token for token, _ in top] == [1, 2]
    assert top[0][1] == pytest.approx(3 - math.log(total))


def test_numbers_that_are_large_stay_numbers() -> None:
    row = np.asarray([1000.0, 990.0, -np.inf], dtype=np.float32)
    assert weigh(row, 0, top=0)[0] == pytest.approx(-math.log1p(math.exp(-10)), abs=1e-6)


def test_no_more_than_twenty_alternatives_are_given() -> None:
    row = np.arange(500, dtype=np.float32)
    assert [token for token, _ in weigh(row, 3, top=99)[1]] == list(range(499, 479, -1))


def test_a_logprob_crosses_with_its_bytes_and_the_alternatives_asked_for() -> None:
    inner = Logprob("é".encode()[:1], -0.5)
    assert inner.as_data() == {"token": "\ufffd", "logprob": -0.5, "bytes": [195]}
    assert Logprob(b"a", -1.0, (inner,)).as_data() == {
        "token": "a",
        "logprob": -1.0,
        "bytes": [97],
        "top": [inner.as_data()],
    }


def streamed(pieces: list[bytes], stops: list[str]) -> tuple[str, list[int], list[tuple[str, list[int]]]]:
    """The whole text, the numbers of the tokens given with it, and each event; token n has the logprob -n."""
    text, ledger = TextStream(stops), Ledger()
    events = []
    for number, piece in enumerate(pieces):
        ledger.note(Logprob(piece, -float(number)), piece)
        said = text.push(piece)
        events.append((said, [-int(one.logprob) for one in ledger.release(said)]))
        if text.stopped:
            break
    rest = text.close()
    events.append((rest, [-int(one.logprob) for one in ledger.close(rest, stopped=text.stopped)]))
    return "".join(said for said, _ in events), [one for _, given in events for one in given], events


def test_the_tokens_of_half_a_character_come_with_the_whole_one() -> None:
    assert streamed([b"a\xf0\x9f", b"\x98", b"\x80", b"b"], [])[2] == [
        ("a", []),
        ("", []),
        ("😀", [0, 1, 2]),
        ("b", [3]),
        ("", []),
    ]


def test_tokens_that_are_held_for_a_stop_string_come_when_they_are_sent() -> None:
    assert streamed([b"E", b"N", b"X", b"E"], ["END"])[2] == [
        ("", []),
        ("", []),
        ("ENX", [0, 1, 2]),
        ("", []),
        ("E", [3]),
    ]


def test_no_token_of_a_swallowed_stop_string_is_given() -> None:
    assert streamed([b"a", b"b E", b"N", b"D!"], ["END"])[:2] == ("ab ", [0, 1])


def test_a_token_without_text_keeps_its_place() -> None:
    assert streamed([b"E", b"", b"x"], ["END"])[:2] == ("Ex", [0, 1, 2])


def test_half_a_character_at_the_very_end_loses_no_token() -> None:
    assert streamed([b"ok", b"\xe2\x82"], [])[:2] == ("ok", [0, 1])


@given(
    data=st.text(alphabet="ab é😀", max_size=20).map(str.encode),
    stops=st.lists(st.text(alphabet="ab é😀", min_size=1, max_size=3), max_size=3),
    places=st.lists(st.integers(0, 80), max_size=12),
)
def test_tokens_come_in_order_and_none_twice_and_never_before_their_text(
    data: bytes, stops: list[str], places: list[int]
) -> None:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    pieces = [data[start:end] for start, end in zip(edges, edges[1:], strict=False)]
    text, numbers, events = streamed(pieces, stops)
    assert numbers == list(range(len(numbers)))
    sent = 0
    for said, given_now in events[:-1]:
        sent += len(said.encode())
        assert not given_now or len(b"".join(pieces[: given_now[-1] + 1])) <= sent
    assert len(b"".join(pieces[: len(numbers)])) >= len(text.encode())


def test_a_run_that_asks_gets_each_tokens_logprob_in_order(bench: Bench) -> None:
    prompt = [300, ANSWER + 6]
    whole = answer(prompt, 99)
    assert bench.run("a", prompt, logprobs=2) == whole
    assert [one.token.decode() for one in bench.logprobs["a"]] == list(whole)
    assert [one.logprob for one in bench.logprobs["a"]] == [-2.5 - place for place in range(6)]
    assert [[other.token for other in one.top] for one in bench.logprobs["a"]] == [[b"a", b"b"]] * 6


def test_zero_asks_for_the_chosen_tokens_alone(bench: Bench) -> None:
    bench.run("a", [300, ANSWER + 3], logprobs=0)
    assert len(bench.logprobs["a"]) == 3 and not any(one.top for one in bench.logprobs["a"])


def test_a_run_that_does_not_ask_has_none(bench: Bench) -> None:
    bench.run("a", [300, ANSWER + 3])
    events = [event for batch in bench.batches for event in batch if isinstance(event, Text)]
    assert len(events) == 3 and not any(event.logprobs for event in events)


def test_a_stop_string_in_a_run_takes_its_logprobs_with_it(bench: Bench) -> None:
    prompt = [300, ANSWER + 30]
    whole = answer(prompt, 99)
    text = bench.run("a", prompt, logprobs=0, stop=(whole[5:8],))
    assert [one.token.decode() for one in bench.logprobs["a"]] == list(text) and text
