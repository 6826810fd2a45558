"""The options of the wire contract's section 5."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.errors import Problem
from apps.inference import options
from apps.inference.types import Limits, LoadOptions, Sampling


def refusal(given: dict[str, object]) -> Problem:
    with pytest.raises(Problem) as caught:
        options.merge({}, given)
    return caught.value


def test_nothing_given_leaves_the_defaults() -> None:
    assert options.merge({}, {}) == (Sampling(), Limits(), LoadOptions())


def test_the_request_wins_over_the_model_and_the_model_over_the_defaults() -> None:
    model = {"temperature": 0.1, "top_k": 7, "num_ctx": 2048, "stop": ["a"]}
    sampling, limits, load = options.merge(model, {"temperature": 0.9, "stop": ["b"]})
    assert (sampling.temperature, sampling.top_k, sampling.top_p) == (0.9, 7, 0.9)
    assert (load.num_ctx, limits.stop) == (2048, ("b",))


def test_a_null_leaves_what_the_model_says() -> None:
    sampling, _, load = options.merge({"top_k": 7, "main_gpu": 1}, {"top_k": None, "main_gpu": None})
    assert (sampling.top_k, load.main_gpu) == (7, 1)


def test_every_option_reaches_its_place() -> None:
    numbers = {"seed": 5, "top_k": 6, "repeat_last_n": 7}
    reals = {"temperature": 0.5, "top_p": 0.25, "min_p": 0.125, "typical_p": 0.75}
    penalties = {"repeat_penalty": 1.5, "presence_penalty": -0.5, "frequency_penalty": 2.0}
    bounds = {"num_predict": 8, "num_keep": 9, "stop": ["x", "y"]}
    load = {"num_ctx": 64, "num_batch": 32, "num_gpu": 0, "main_gpu": 1, "use_mmap": False, "num_thread": 2}
    found = options.merge({}, numbers | reals | penalties | bounds | load | {"tensor_split": [1, 0.5]})
    assert found[0] == Sampling(**numbers, **reals, **penalties)
    assert found[1] == Limits(num_predict=8, num_keep=9, stop=("x", "y"))
    assert found[2] == LoadOptions(**load, tensor_split=(1.0, 0.5))  # type: ignore[arg-type]


def test_unknown_and_deprecated_names_are_ignored() -> None:
    ignored = {"nonsense": 1, "mirostat": "x", "low_vram": [], "numa": {}, "truncate": False, "shift": False}
    assert options.merge(ignored, ignored) == (Sampling(), Limits(), LoadOptions())


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"num_ctx": "4096"}, 'option "num_ctx" must be of type integer'),
        ({"seed": True}, 'option "seed" must be of type integer'),
        ({"top_k": []}, 'option "top_k" must be of type integer'),
        ({"draft_num_predict": "x"}, 'option "draft_num_predict" must be of type integer'),
        ({"use_mmap": 1}, 'option "use_mmap" must be of type boolean'),
        ({"temperature": "hot"}, 'option "temperature" must be of type float32'),
        ({"top_p": False}, 'option "top_p" must be of type float32'),
        ({"stop": "x"}, 'option "stop" must be of type array'),
        ({"stop": [1]}, 'option "stop" must be of an array of strings'),
    ],
)
def test_a_wrong_type_is_refused_in_the_contract_s_words(given: dict[str, object], text: str) -> None:
    problem = refusal(given)
    assert (problem.message, problem.status) == (text, 500)


def test_a_model_s_own_parameter_of_a_wrong_type_is_refused_too() -> None:
    with pytest.raises(Problem, match='option "top_k" must be of type integer'):
        options.merge({"top_k": "many"}, {})


def test_integers_take_fractions_and_cut_them() -> None:
    sampling, limits, _ = options.merge({}, {"top_k": 1.9, "num_predict": -1.9, "seed": 1e15})
    assert (sampling.top_k, limits.num_predict, sampling.seed) == (1, -1, 10**15)


def test_a_context_is_at_least_four_tokens_and_zero_leaves_it_to_the_server() -> None:
    assert [options.merge({}, {"num_ctx": size})[2].num_ctx for size in (1, -5, 0, 5)] == [4, 4, None, 5]


def test_an_empty_stop_word_ends_nothing_and_one_given_twice_counts_once() -> None:
    assert options.merge({}, {"stop": ["", "a", "a"]})[1].stop == ("a",)


@pytest.mark.parametrize(
    "text",
    [
        '{"top_k": NaN}',
        '{"top_k": 1e300}',
        '{"seed": 9223372036854775808}',
        '{"num_ctx": Infinity}',
        '{"num_ctx": 4294967296}',
        '{"num_batch": 0}',
        '{"num_thread": 1000000}',
        '{"temperature": NaN}',
        '{"temperature": -Infinity}',
        '{"temperature": 1e39}',
        '{"temperature": 1' + "0" * 400 + "}",
        '{"tensor_split": [NaN]}',
    ],
)
def test_a_number_that_the_engine_cannot_hold_is_refused_with_a_sentence(text: str) -> None:
    assert refusal(json.loads(text)).status == 400


def test_more_stop_words_than_a_step_can_look_for_are_refused() -> None:
    assert refusal({"stop": [str(number) for number in range(300)]}).status == 400
    assert refusal({"stop": ["x" * 5000]}).status == 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(options._READERS)), JSON, max_size=5))
def test_any_json_gives_options_or_a_sentence(given: dict[str, object]) -> None:
    try:
        sampling, limits, load = options.merge({}, given)
    except Problem as problem:
        assert problem.status in {400, 500}
        assert problem.message.startswith('option "')
    else:
        json.dumps([vars(sampling), vars(limits), vars(load)], allow_nan=False)
