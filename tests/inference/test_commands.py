"""What the render child and the runner are told of a request."""

import base64
import io
import json
from typing import Any

import pytest

from apps.errors import Problem
from apps.inference import commands, layers
from apps.inference.parsing.reply import Reply
from apps.inference.prompt.job import Prompt
from apps.inference.runner import protocol
from apps.inference.types import Format, Limits, Message, Request, Sampling
from tests.inference.test_runs import version

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
THINKS = Reply(thinking=("<think>", "</think>"))


def order(request: Request, reply: Reply | None = None) -> dict[str, Any]:
    return commands.command(request, Prompt((1, 2), "text", public_tokens=1, reply=reply))


def chat(**fields: Any) -> Request:
    return Request(kind="chat", messages=(Message("user", "hi"),), **fields)


def test_everything_of_the_request_reaches_the_render_child() -> None:
    request = Request(
        kind="chat", messages=(Message("user", "hi", images=("aGk=",)),), system="s", suffix="x", images=("eA==",),
        tools=(TOOL,), tool_choice="required", think="high", inputs=("i",), render_only=True, context=(1,),
        limits=Limits(truncate=False, shift=False, num_keep=9),
    )  # fmt: skip
    job = commands.prompt_job(request, commands.stored(request, version()), context=77)
    assert (job.kind, job.num_ctx, job.messages, job.system, job.suffix) == ("chat", 77, request.messages, "s", "x")
    assert (job.images, job.tools, job.tool_choice, job.think) == (request.images, (TOOL,), "required", "high")
    assert (job.inputs, job.render_only, job.context) == (("i",), True, (1,))
    assert (job.truncate, job.shift, job.num_keep) == (False, False, 9)
    assert job.model == version().canonical


def test_the_requests_template_wins_and_the_versions_is_told_too() -> None:
    payload = {**commands.stored(chat(), version()), "template": "{{ .Prompt }}"}
    assert commands.prompt_job(chat(), payload, context=4).template == "{{ .Prompt }}"
    own = commands.prompt_job(chat(template="mine"), payload, context=4)
    assert (own.template, own.version_template) == ("mine", "{{ .Prompt }}")


def test_a_run_says_how_to_sample_and_when_to_end() -> None:
    limits = Limits(num_predict=5, num_keep=2, stop=("x",), shift=False)
    told = order(chat(sampling=Sampling(seed=3), limits=limits, logprobs=2), THINKS)
    assert (told["do"], told["tokens"], told["public_tokens"], told["logprobs"]) == ("run", [1, 2], 1, 2)
    assert told["sampling"]["seed"] == 3
    assert told["limits"] == {"num_predict": 5, "num_keep": 2, "stop": ["x"], "shift": False}
    assert Reply.from_data(told["reply"]) == THINKS
    assert (told["grammar"], told["think_first"], told["want_context"]) == (None, False, False)


@pytest.mark.parametrize(("raw", "wanted"), [(True, False), (False, True)])
def test_only_a_generate_that_is_not_raw_gets_its_context_back(raw: bool, wanted: bool) -> None:
    assert order(Request(kind="generate", prompt="x", raw=raw))["want_context"] is wanted


@pytest.mark.parametrize(
    ("fields", "grammar"),
    [
        ({}, None),
        ({"format": Format("json")}, {"kind": "json"}),
        ({"format": Format("schema", {"type": "null"})}, {"kind": "schema", "schema": {"type": "null"}}),
        ({"tools": (TOOL,)}, None),
        ({"tools": (TOOL,), "tool_choice": "none"}, None),
        ({"tools": (TOOL,), "tool_choice": "required"}, {"kind": "tools", "tools": [TOOL], "choice": "required"}),
        (
            {"tools": (TOOL,), "tool_choice": "look", "format": Format("json")},
            {"kind": "tools", "tools": [TOOL], "choice": "look"},
        ),
        ({"tool_choice": "required", "format": Format("json")}, {"kind": "json"}),
    ],
)
def test_a_format_or_a_call_that_must_come_is_a_grammar(fields: dict[str, Any], grammar: Any) -> None:
    assert order(chat(**fields))["grammar"] == grammar


@pytest.mark.parametrize(
    ("format_", "reply", "first"),
    [(Format("json"), THINKS, True), (Format("json"), Reply(), False), (None, THINKS, False), (None, None, False)],
)
def test_a_model_thinks_before_its_grammar_begins(format_: Format | None, reply: Reply | None, first: bool) -> None:
    assert order(chat(format=format_), reply)["think_first"] is first


def test_an_embedding_is_a_command_of_its_own() -> None:
    request = Request(kind="embed", inputs=("a", "b"), dimensions=8)
    told = commands.command(request, Prompt((), "", inputs=((1, 2), (3,))))
    assert told == {"do": "embed", "inputs": [[1, 2], [3]], "dimensions": 8}


# --- layers ----------------------------------------------------------------------------------------------------------


def test_weights_alone_are_their_own_key() -> None:
    assert layers.key("sha256:a", ()) == "sha256:a" == layers.weights_of("sha256:a")


def test_other_layers_or_another_order_are_another_key_over_the_same_weights() -> None:
    keys = {layers.key("sha256:a", over) for over in (("x",), ("y",), ("x", "y"), ("y", "x"), ())}
    assert len(keys) == 5
    assert {layers.weights_of(key) for key in keys} == {"sha256:a"}


# --- Images ------------------------------------------------------------------------------------------------------


def shown(*images: bytes) -> tuple[str, ...]:
    return tuple(base64.b64encode(image).decode() for image in images)


def test_images_go_beside_the_tokens_in_the_order_of_all_messages() -> None:
    said = (Message("user", "a", images=shown(b"cat", b"dog")), Message("user", "b", images=shown(b"cow")))
    told = commands.command(Request(kind="chat", messages=said), Prompt((1, -1, 2, -2, -3), "text", images=3))
    assert (told["tokens"], told["images"]) == ([1, -1, 2, -2, -3], [b"cat", b"dog", b"cow"])


def test_an_image_that_was_dropped_is_not_sent_and_the_others_move_up() -> None:
    request = Request(kind="generate", prompt="x", images=shown(b"cat", b"dog", b"cow"))
    told = commands.command(request, Prompt((7, -3, 8, -2, -3), "text", images=2))
    assert (told["tokens"], told["images"]) == ([7, -2, 8, -1, -2], [b"dog", b"cow"])


def test_a_request_without_images_sends_none() -> None:
    told = order(chat())
    assert told["images"] == []
    assert json.loads(commands.packed(told)) == told


def test_the_runner_reads_images_behind_their_line() -> None:
    cow = b"c\no\n\0w"
    sent = [{"do": "run", "images": [cow, b""]}, {"do": "cancel", "run": "x"}, {"do": "run", "images": [b"{}\n"]}]
    pipe = io.BytesIO(b"".join(map(commands.packed, sent)))
    assert list(protocol.read(pipe)) == sent


def test_images_that_are_too_much_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "IMAGE_BYTES", 5)
    request = Request(kind="generate", images=shown(b"cat", b"dog"))
    with pytest.raises(Problem, match="together at most"):
        commands.command(request, Prompt((-1, -2), "", images=2))
    assert commands.command(request, Prompt((-1, 3), "", images=1))["images"] == [b"cat"]


def test_a_context_that_comes_back_has_no_places_of_images() -> None:
    assert commands.words(Prompt((1, -1, 2), "", images=1)) == (1, 2)
    assert commands.words(Prompt((1, 2), "")) == (1, 2)


def test_strict_tools_are_held_where_the_model_writes_calls_as_json() -> None:
    strict: dict[str, Any] = {"tools": (TOOL,), "strict_tools": True}
    hermes = Reply(calls="hermes", tools=("look",))
    held = order(chat(**strict), hermes)["grammar"]
    assert held == {
        "kind": "strict", "tools": [TOOL], "written": {"opening": "<tool_call>", "closing": "</tool_call>"},
    }  # fmt: skip
    llama = order(chat(**strict), Reply(calls="llama3", tools=("look",)))["grammar"]
    assert llama["written"] == {"arguments": "parameters"}
    own = order(chat(**strict), Reply(calls="json", call_tag="<call>", tools=("look",)))["grammar"]
    assert own["written"] == {"opening": "<call>", "closing": "</call>"}
    assert order(chat(**strict), Reply(calls="glm", tools=("look",)))["grammar"] is None
    assert order(chat(**strict, tool_choice="none"), hermes)["grammar"] is None
    assert order(chat(tools=(TOOL,)), hermes)["grammar"] is None
    assert order(chat(**strict, format=Format("json")), hermes)["grammar"] == {"kind": "json"}
