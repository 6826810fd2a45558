"""Runs under a grammar, over the fake model, which says any of what is allowed."""

import json
import re
import time
from collections.abc import Sequence
from typing import Any

import jsonschema
import pytest

from apps.inference.engine.engine import Text
from apps.inference.engine.grammar import Grammar, Thinking
from tests.fakes import ANSWER, MARKER, MARKER_TEXT, FakeBackend, NoRoom, answer
from tests.inference.engine.conftest import Bench, MakeBench

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z]{1,12}$"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "colours": {"type": "array", "items": {"enum": ["red", "green"]}, "minItems": 1, "maxItems": 3},
    },
    "required": ["name", "age", "colours"],
    "additionalProperties": False,
}
FIXED = {"const": {"status": "everything is well", "code": 0}}


def held_to(schema: Any, thinking: Thinking | None = None) -> Grammar:
    return Grammar("schema", schema, thinking=thinking)


def prompt(number: int, length: int = 5) -> list[int]:
    return [300 + number, *range(40, 40 + length - 2), ANSWER + 999]


def test_eight_runs_at_once_say_what_their_schema_allows(make_bench: MakeBench) -> None:
    bench = make_bench(slots=8, context=256, batch=64)
    for number in range(8):
        bench.submit(str(number), prompt(number), grammar=held_to(PERSON))
    bench.until(*map(str, range(8)))
    for number in range(8):
        jsonschema.validate(json.loads(bench.texts[str(number)]), PERSON)
        assert bench.ends[str(number)].reason == "stop"
    assert len(set(bench.texts.values())) == 8
    assert all(sampler.freed for sampler in bench.backend.samplers)


def test_a_run_without_a_grammar_beside_one_says_what_it_would_alone(make_bench: MakeBench) -> None:
    bench = make_bench(context=128)
    free = [301, ANSWER + 20]
    bench.submit("held", prompt(1), grammar=held_to(PERSON))
    bench.submit("free", free)
    bench.until("held", "free")
    assert bench.texts["free"] == answer(free, 99)
    jsonschema.validate(json.loads(bench.texts["held"]), PERSON)


def test_a_schema_that_is_refused_takes_no_slot(make_bench: MakeBench) -> None:
    bench = make_bench(slots=1)
    bench.submit("busy", [300, ANSWER + 40])
    bench.steps(2)
    bench.submit("bad", prompt(2), grammar=held_to({"not": {}}))
    bench.until("bad", most=100_000)
    problem = bench.ends["bad"].problem
    assert bench.ends["bad"].reason == "error" and problem
    assert problem.code == "invalid" and "not" in problem.message
    assert bench.started == ["busy"]


def test_what_leaves_no_choice_is_computed_in_one_step(make_bench: MakeBench) -> None:
    bench = make_bench(context=128, batch=64)
    text = bench.run("a", prompt(1), grammar=held_to({"const": "there is nothing to choose in this"}))
    assert text == '"there is nothing to choose in this"'
    assert bench.ends["a"].output_tokens == len(bench.ends["a"].output_ids) == len(text)
    assert [length for step in bench.backend.steps for _, _, length in step] == [5, 33]
    told = bytes(bench.backend.samplers[0].told).decode()  # the penalties know what was not sampled
    assert told == text[1:33] + text[34:]


def test_more_forced_tokens_than_a_batch_holds_take_several_steps(make_bench: MakeBench) -> None:
    bench = make_bench(context=256, batch=16, slots=3)
    for number in range(3):
        bench.submit(str(number), prompt(number), grammar=held_to(FIXED))
    bench.until("0", "1", "2")
    assert all(json.loads(bench.texts[run]) == FIXED["const"] for run in "012")


def test_a_reply_that_is_whole_ends_without_asking_the_model(bench: Bench) -> None:
    text = bench.run("a", prompt(1), grammar=held_to({"const": 5}))
    end = bench.ends["a"]
    assert (text, end.reason, end.output_tokens, len(bench.backend.steps)) == ("5", "stop", 1, 1)


def test_num_predict_cuts_a_reply_and_says_so(bench: Bench) -> None:
    text = bench.run("a", prompt(1), grammar=held_to(FIXED), num_predict=9)
    assert (len(text), bench.ends["a"].reason, bench.ends["a"].output_tokens) == (9, "length", 9)


def test_a_reply_that_is_whole_at_num_predict_has_stopped(bench: Bench) -> None:
    assert bench.run("a", prompt(1), grammar=held_to({"const": "abc"}), num_predict=5) == '"abc"'
    assert bench.ends["a"].reason == "stop"


def test_a_stop_string_ends_a_reply_before_its_grammar_does(bench: Bench) -> None:
    text = bench.run("a", prompt(1), grammar=held_to(FIXED), stop=("is well",))
    assert text.endswith("everything ") and bench.ends["a"].reason == "stop"


def test_one_token_over_and_over_under_a_grammar_is_not_whole(make_bench: MakeBench) -> None:
    bench = make_bench(context=256)
    bench.run("a", prompt(1), grammar=held_to({"type": "string", "pattern": "^a{60}$"}), logprobs=0)
    assert (bench.ends["a"].reason, bench.ends["a"].output_tokens) == ("length", 33)


def test_a_run_that_loses_its_slot_comes_back_under_its_grammar(make_bench: MakeBench) -> None:
    alone = make_bench(context=128).run("a", prompt(1), grammar=held_to(PERSON))
    bench = make_bench(context=128, slots=2)
    bench.submit("first", prompt(2), grammar=held_to(PERSON))
    bench.submit("last", prompt(1), grammar=held_to(PERSON))
    while len(bench.texts.get("last", "")) < 5:
        bench.steps()
    bench.backend.failures.append(NoRoom())
    bench.until("first", "last")
    assert bench.texts["last"] == alone
    jsonschema.validate(json.loads(bench.texts["first"]), PERSON)


def test_a_full_context_shifts_under_a_grammar(make_bench: MakeBench) -> None:
    bench = make_bench(context=32)
    schema = {"type": "array", "items": PERSON, "minItems": 3, "maxItems": 4}
    text = bench.run("a", prompt(1), grammar=held_to(schema), num_keep=2)
    jsonschema.validate(json.loads(text), schema)
    assert len(text) > 32 and bench.ends["a"].reason == "stop"


def test_a_cancel_while_the_grammar_is_compiled_is_heard(bench: Bench) -> None:
    bench.submit("a", prompt(1), grammar=held_to(PERSON))
    bench.engine.cancel("a")
    bench.until("a")
    assert (bench.ends["a"].reason, bench.started) == ("cancelled", [])
    time.sleep(0.05)
    bench.steps(2)
    assert "a" not in bench.texts


def test_a_stop_of_the_engine_ends_what_waits_for_its_grammar(bench: Bench) -> None:
    bench.submit("a", prompt(1), grammar=held_to(PERSON))
    bench.engine.stop()
    bench.engine.run()
    problem = bench.ends["a"].problem
    assert problem and problem.code == "unavailable"


def test_logprobs_of_forced_tokens_are_weighed_too(bench: Bench) -> None:
    text = bench.run("a", prompt(1), grammar=held_to(FIXED), logprobs=1)
    assert [one.token.decode() for one in bench.logprobs["a"]] == list(text)
    assert len({one.logprob for one in bench.logprobs["a"]}) == len(text) > 20


def test_a_grammar_that_outgrows_its_limits_ends_the_run(bench: Bench) -> None:
    bench.submit("a", prompt(1), grammar=held_to({"type": "string", "pattern": "^(a|b){200}$"}), logprobs=0)
    while "a" not in bench.texts:
        bench.steps()
    constraint = bench.engine._scheduler.running[0].owner
    assert constraint and constraint.constraint
    constraint.constraint._matcher.consume_token(ord("!"))
    bench.until("a")
    problem = bench.ends["a"].problem
    assert problem and problem.code == "invalid" and "could not be held to" in problem.message


class Thinker(FakeBackend):
    """Says a script without asking anybody, as long as no grammar holds it."""

    script: bytes = b""

    def say(self, held: Sequence[int]) -> int:
        start = max(at for at, token in enumerate(held) if token >= ANSWER) + 1
        said = len(held) - start
        return self.script[said] if said < len(self.script) else 0

    def say_of(self, held: Sequence[int], mask: Any) -> int:
        wanted = self.say(held)
        return wanted if mask[wanted >> 3] >> (wanted & 7) & 1 else super().say_of(held, mask)


def think(script: bytes, tags: Thinking, schema: Any = FIXED, **options: Any) -> tuple[str, Bench]:
    backend = Thinker(context=256)
    backend.script = script
    bench = Bench(backend)
    return bench.run("a", [300, ANSWER], grammar=held_to(schema, tags), **options), bench


@pytest.mark.parametrize("script", [b"hm, {no json}</think>and so on", b"</think>", b"hm</think>  \n"])
def test_the_grammar_begins_behind_the_thought(script: bytes) -> None:
    text, bench = think(script, Thinking("", "</think>"))
    thought, tag, reply = text.partition("</think>")
    assert script.startswith((thought + tag).encode()) and tag
    assert json.loads(reply) == FIXED["const"] and bench.ends["a"].reason == "stop"


def test_a_model_that_would_end_inside_its_thought_closes_it_and_answers() -> None:
    text, _ = think(b"well", Thinking("", "</think>"))
    assert text.startswith("well</think>{") and json.loads(text[12:]) == FIXED["const"]


def test_a_model_may_open_its_thought_itself() -> None:
    text, _ = think(b"<think>so</think>", Thinking("<think>", "</think>"))
    assert text.startswith("<think>so</think>{") and json.loads(text[17:]) == FIXED["const"]


def test_a_model_that_does_not_think_is_held_from_the_start() -> None:
    text, _ = think(b"Sure: ", Thinking("<think>", "</think>"))
    assert json.loads(re.sub(r"^<think>.*</think>", "", text)) == FIXED["const"]


def test_a_closing_tag_that_is_a_token_without_text_is_noticed() -> None:
    text, _ = think(b"so" + bytes([MARKER]) + b"x", Thinking("", chr(MARKER)))
    assert text.startswith("so{") and json.loads(text[2:]) == FIXED["const"]


def test_a_thought_may_take_all_that_may_be_said() -> None:
    text, bench = think(b"on and on and on", Thinking("", "</think>"), num_predict=6)
    assert (text, bench.ends["a"].reason) == ("on and", "length")


def test_control_tokens_that_a_parser_looks_for_come_as_text() -> None:
    backend = Thinker(context=64)
    backend.script = b"a" + bytes([MARKER]) + b"b"
    bench = Bench(backend)
    assert bench.run("a", [300, ANSWER]) == "ab"
    assert bench.run("b", [300, ANSWER], markers=(MARKER_TEXT, "<no token>")) == f"a{MARKER_TEXT}b"


def test_text_under_a_grammar_streams_as_it_is_said(make_bench: MakeBench) -> None:
    bench = make_bench(context=128)
    bench.run("a", prompt(1), grammar=held_to(PERSON))
    assert sum(isinstance(event, Text) for batch in bench.batches for event in batch) > 5
