"""Commands as the runner takes them."""

from typing import Any

from apps.inference.engine.grammar import Thinking
from apps.inference.engine.sequence import Job
from apps.inference.parsing import Reply
from apps.inference.runner import protocol
from apps.inference.runner.embedding import EmbedJob

RUN: dict[str, Any] = {"do": "run", "run": "r", "log": "l", "fence": 3, "tokens": [1, 2], "share_key": "u"}
HERMES = Reply("hermes", ("now",), thinking=("<think>", "</think>"))


def job_of(**more: Any) -> Job:
    job = protocol.order({**RUN, **more}).job
    assert isinstance(job, Job)
    return job


def test_a_plain_run_has_nothing_to_read() -> None:
    order = protocol.order({**RUN, "reply": None, "grammar": None, "logprobs": None, "think_first": False})
    assert (order.log_id, order.fence, order.reply) == ("l", 3, None)
    assert (job_of().grammar, job_of().logprobs, job_of().markers) == (None, None, ())


def test_a_reply_that_is_only_text_needs_no_parser() -> None:
    assert protocol.order({**RUN, "reply": Reply().as_data()}).reply is None


def test_a_reply_is_read_as_it_was_chosen() -> None:
    assert protocol.order({**RUN, "reply": HERMES.as_data()}).reply == HERMES
    assert job_of(reply=HERMES.as_data()).markers == ("<think>", "</think>", "<tool_call>", "</tool_call>")


def test_logprobs_may_be_none_or_no_alternatives() -> None:
    assert (job_of(logprobs=0).logprobs, job_of(logprobs=5).logprobs) == (0, 5)


def test_a_grammar_may_wait_for_the_thinking() -> None:
    given = {"grammar": {"kind": "json"}, "reply": HERMES.as_data()}
    at_once, later = job_of(**given, think_first=False).grammar, job_of(**given, think_first=True).grammar
    assert at_once and at_once.kind == "json" and at_once.thinking is None
    assert later and later.thinking == Thinking("<think>", "</think>")


def test_a_prompt_that_ends_inside_the_thinking_has_its_tag_already() -> None:
    reply = Reply(thinking=("<think>", "</think>"), thinks_already=True)
    grammar = job_of(grammar={"kind": "json"}, reply=reply.as_data(), think_first=True).grammar
    assert grammar and grammar.thinking == Thinking("", "</think>")


def test_an_embed_command_brings_the_tokens_of_its_texts() -> None:
    command = {"do": "embed", "run": "r", "log": "l", "fence": 1, "inputs": [[1, 2], [3]], "dimensions": 8}
    job = protocol.order(command).job
    assert isinstance(job, EmbedJob)
    assert ([list(tokens) for tokens in job.inputs], job.dimensions, job.run) == ([[1, 2], [3]], 8, "r")
