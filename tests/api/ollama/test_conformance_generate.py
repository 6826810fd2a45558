"""The contract's checks of /api/generate on a running server."""

import json
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.ollama.checks import check
from tests.api.ollama.conftest import MODEL
from tests.api.ollama.recordings import body_of, shape
from tests.api.ollama.speaking import answer, from_now, generate, lines, loaded
from tests.server import wait_for


@check(13, 14, 18)
def test_a_stream_is_lines_of_which_the_last_one_counts(live: httpx.Client) -> None:
    *early, last = lines(live, "/api/generate", generate())
    golden = body_of("generate-stream")
    assert early
    assert all(shape(line) == shape(golden[0]) and not line["done"] for line in early)
    assert shape(last) == shape(golden[-1])
    assert last["done_reason"] in ("stop", "length")
    assert last["total_duration"] >= last["load_duration"] >= 0
    assert last["eval_count"] >= 1
    assert last["prompt_eval_count"] >= 1
    assert all(isinstance(token, int) for token in last["context"])
    assert datetime.fromisoformat(last["created_at"]).utcoffset() == timedelta(0)


@check(15, 16)
def test_a_stream_says_what_the_whole_reply_says(live: httpx.Client) -> None:
    streamed = lines(live, "/api/generate", generate())
    reply = live.post("/api/generate", json=generate(stream=False))
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    assert reply.json()["response"] == "".join(line["response"] for line in streamed)
    assert list(reply.json()) == list(streamed[-1])


@check(17)
def test_the_model_is_echoed_as_typed(live: httpx.Client) -> None:
    assert answer(live, "/api/generate", generate(model=MODEL.upper()))["model"] == MODEL.upper()


@check(19)
def test_no_prompt_loads_the_model(live: httpx.Client) -> None:
    reply = live.post("/api/generate", json={"model": MODEL})
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    assert shape(reply.json()) == shape(body_of("generate-load"))
    assert reply.json()["done_reason"] == "load"
    assert loaded(live)


@check(20)
def test_no_prompt_and_no_stay_unloads_it(live: httpx.Client) -> None:
    live.post("/api/generate", json={"model": MODEL})
    for _ in range(2):
        reply = live.post("/api/generate", json={"model": MODEL, "keep_alive": 0})
        assert shape(reply.json()) == shape(body_of("generate-unload"))
        assert reply.json()["done_reason"] == "unload"
    wait_for(lambda: not loaded(live))


@check(21)
def test_a_reply_without_a_stay_unloads_afterwards(live: httpx.Client) -> None:
    assert answer(live, "/api/generate", generate(keep_alive=0))["response"]
    wait_for(lambda: not loaded(live))


@check(28)
def test_think_may_be_switched_off_on_a_model_that_cannot(live: httpx.Client) -> None:
    assert answer(live, "/api/generate", generate(think=False))["response"]


@check(32)
def test_raw_sends_the_prompt_as_it_is_and_returns_no_context(live: httpx.Client) -> None:
    said = answer(live, "/api/generate", generate(prompt="1, 2, 3,", raw=True))
    assert shape(said) == shape(body_of("generate-raw"))
    assert said["prompt_eval_count"] < 12


@check(35)
def test_the_context_of_a_reply_goes_before_the_next_prompt(live: httpx.Client) -> None:
    first = answer(live, "/api/generate", generate(prompt="My name is Ada."))
    second = answer(live, "/api/generate", generate(prompt="What is my name?", context=first["context"]))
    alone = answer(live, "/api/generate", generate(prompt="What is my name?"))
    assert second["prompt_eval_count"] > alone["prompt_eval_count"]
    assert "Ada" in second["response"]


@check(40)
def test_a_stop_word_ends_the_reply_and_is_not_part_of_it(live: httpx.Client) -> None:
    said = answer(live, "/api/generate", generate(options={"stop": ["3"], "num_predict": 40}))
    assert "3" not in said["response"]
    assert "2" in said["response"]
    assert said["done_reason"] == "stop"


@check(41)
def test_options_that_nobody_knows_are_ignored(live: httpx.Client) -> None:
    assert answer(live, "/api/generate", generate(options={"nonsense": 1, "mirostat": 2}))["done"]


@check(42)
def test_num_predict_limits_the_reply(live: httpx.Client) -> None:
    said = answer(live, "/api/generate", generate(options={"num_predict": 3}))
    assert (said["eval_count"] <= 3, said["done_reason"]) == (True, "length")


@check(43)
def test_a_seed_gives_the_same_text_again(live: httpx.Client) -> None:
    body = generate(options={"seed": 1001, "temperature": 0})
    assert answer(live, "/api/generate", body)["response"] == answer(live, "/api/generate", body)["response"]


@check(44)
@pytest.mark.parametrize("value", ["0", "10m", 3600, 1.5, -1, "-1m"])
def test_a_keep_alive_may_be_said_in_many_ways(live: httpx.Client, value: Any) -> None:
    assert answer(live, "/api/generate", generate(keep_alive=value, options={"num_predict": 1}))["done"]


@check(45)
def test_the_keep_alive_shows_in_ps(live: httpx.Client) -> None:
    live.post("/api/generate", json={"model": MODEL, "keep_alive": -1})
    wait_for(lambda: from_now(loaded(live)[0]["expires_at"]) > timedelta(days=365 * 100))
    live.post("/api/generate", json={"model": MODEL, "keep_alive": 60})
    wait_for(lambda: timedelta(seconds=40) < from_now(loaded(live)[0]["expires_at"]) < timedelta(seconds=65))


def test_system_replaces_the_models_own(live: httpx.Client) -> None:
    plain = answer(live, "/api/generate", generate())
    told = answer(live, "/api/generate", generate(system="You speak only in the word moo. " * 8))
    assert told["prompt_eval_count"] > plain["prompt_eval_count"]


def test_every_line_is_flushed_when_it_is_made(live: httpx.Client) -> None:
    with live.stream("POST", "/api/generate", json=generate(options={"num_predict": 30})) as reply:
        stamps = [json.loads(line)["created_at"] for line in reply.iter_lines()]
    assert stamps == sorted(stamps)
    assert len(set(stamps)) == len(stamps)
