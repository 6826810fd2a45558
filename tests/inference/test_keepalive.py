"""Go's durations, by the table of the wire contract's section 6.1 and by properties."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.errors import Problem
from apps.inference import keepalive

NOW = datetime(2026, 11, 22, tzinfo=UTC)
UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (0, 0.0),
        (0.0, 0.0),
        ("0", 0.0),
        ("+0", 0.0),
        ("-0", 0.0),
        ("0s", 0.0),
        ("-0s", 0.0),
        (1.5, 1.5),
        (3600, 3600.0),
        (-1, keepalive.FOREVER),
        (-0.001, keepalive.FOREVER),
        (10**30, keepalive.FOREVER),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("24h", 86400.0),
        ("300ms", 0.3),
        ("1.5s", 1.5),
        (".5s", 0.5),
        ("5.s", 5.0),
        ("+5m", 300.0),
        ("1h0.5m2µs", 3630.000002),
        ("00000000000000000000000005s", 5.0),
        ("-1m", keepalive.FOREVER),
        ("-1s", keepalive.FOREVER),
        ("-1ns", keepalive.FOREVER),
    ],
)
def test_a_keep_alive_is_read_as_go_reads_it(value: object, seconds: float | None) -> None:
    assert keepalive.parse(value) == seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("5", 'time: missing unit in duration "5"'),
        ("-1", 'time: missing unit in duration "-1"'),
        ("1h5", 'time: missing unit in duration "1h5"'),
        ("5.", 'time: missing unit in duration "5."'),
        ("abc", 'time: invalid duration "abc"'),
        ("", 'time: invalid duration ""'),
        ("-", 'time: invalid duration "-"'),
        (".", 'time: invalid duration "."'),
        (".s", 'time: invalid duration ".s"'),
        (" 5m", 'time: invalid duration " 5m"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
        ("5m ", 'time: unknown unit "m " in duration "5m "'),
        ("1h-5m", 'time: unknown unit "h-" in duration "1h-5m"'),
        ("5M", 'time: unknown unit "M" in duration "5M"'),
        ("9223372036854775808s", 'time: invalid duration "9223372036854775808s"'),
        ("99999999999999999999s", 'time: invalid duration "99999999999999999999s"'),
        ("2562048h", 'time: invalid duration "2562048h"'),
        ('a"\\', 'time: invalid duration "a\\"\\\\"'),
        ("é\n", 'time: invalid duration "\\xc3\\xa9\\x0a"'),
        (True, "Unsupported type: 'bool'"),
        ([], "Unsupported type: '[]interface {}'"),
        ({}, "Unsupported type: 'map[string]interface {}'"),
        (float("nan"), "keep_alive must be a finite number of seconds"),
        (float("inf"), "keep_alive must be a finite number of seconds"),
    ],
)
def test_what_go_refuses_is_refused_in_its_words(value: object, text: str) -> None:
    with pytest.raises(Problem) as caught:
        keepalive.parse(value)
    assert (caught.value.message, caught.value.status) == (text, 400)


def test_a_number_of_ten_thousand_digits_is_refused_at_once() -> None:
    with pytest.raises(Problem):
        keepalive.parse("9" * 10_000 + "s")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("300", 300.0), ("-1", keepalive.FOREVER), ("0", 0.0), (" 5m ", 300.0), ("-5m", keepalive.FOREVER)],
)
def test_a_setting_may_be_a_plain_number_of_seconds(text: str, seconds: float) -> None:
    assert keepalive.parse_setting(text) == seconds


def test_a_setting_without_sense_is_refused() -> None:
    with pytest.raises(Problem):
        keepalive.parse_setting("soon")


def test_forever_is_more_than_a_hundred_years_ahead() -> None:
    assert keepalive.expiry(NOW, keepalive.FOREVER) - NOW > timedelta(days=292 * 365)


def test_an_expiry_is_that_many_seconds_ahead() -> None:
    assert keepalive.expiry(NOW, 1.5) == NOW + timedelta(seconds=1.5)


@given(st.lists(st.tuples(st.integers(0, 999), st.sampled_from(sorted(UNITS))), min_size=1, max_size=6))
def test_terms_add_up(terms: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in terms)
    assert keepalive.parse(text) == pytest.approx(sum(number * UNITS[unit] for number, unit in terms))


@given(st.integers(0, 9_000_000_000), st.sampled_from(["", "+"]))
def test_whole_seconds_survive_exactly(seconds: int, sign: str) -> None:
    assert keepalive.parse(f"{sign}{seconds}s") == seconds


@given(st.text(max_size=30) | st.from_regex(r"[-+]?[0-9.]{0,5}[a-zµ]{0,3}[0-9.]{0,5}[hms]?", fullmatch=True))
def test_any_text_gives_seconds_or_a_sentence(text: str) -> None:
    try:
        seconds = keepalive.parse(text)
    except Problem as problem:
        assert problem.status == 400
        assert problem.message.startswith("time: ")
    else:
        assert seconds is not None
        assert seconds >= 0 or seconds == keepalive.FOREVER
        keepalive.expiry(NOW, seconds)


@given(st.floats() | st.integers())
def test_any_number_gives_seconds_or_a_sentence(value: float) -> None:
    try:
        seconds = keepalive.parse(value)
    except Problem as problem:
        assert problem.status == 400
    else:
        assert seconds is not None
        keepalive.expiry(NOW, seconds)
