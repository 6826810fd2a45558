"""How a model writes, told from its template: by the marks in it, as its author wrote them for the model to learn."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from apps.inference.parsing.reply import Reply

# The first whose marks are all there.
_CALLS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("harmony", ("<|channel|>", "<|message|>")),
    ("deepseek", ("<｜tool▁call",)),
    ("deepseek", ("<｜tool_call",)),
    ("mistral", ("[TOOL_CALLS]",)),
    ("gemma", ("<start_function_call>",)),
    ("gemma", ("<|tool_call>call:",)),
    ("gemma", ("tool_code",)),
    ("glm", ("<tool_call>", "<arg_key>")),
    ("xml", ("<function=", "<parameter=")),
    ("hermes", ("<tool_call>",)),
    ("llama3", ("<|python_tag|>",)),
    ("llama3", ("<|start_header_id|>", '"parameters"')),
    ("gemma", ("<start_of_turn>",)),
)
_THINKING: tuple[tuple[str, str, str], ...] = (  # what the template holds, the opening tag and the closing tag
    ("</think>", "<think>", "</think>"),
    ("[/THINK]", "[THINK]", "[/THINK]"),
    ("</seed:think>", "<seed:think>", "</seed:think>"),
    ("<|channel>thought", "<|channel>thought", "<channel|>"),
)
_TAGS = ("<TOOLCALL>", "<tool_calls>", "<|tool_call|>")  # of Jinja templates that write JSON behind a tag of their own
_HARMONY = ("<|channel|>analysis<|message|>", "<|end|>")

_THINKING_FIELD = re.compile(r"\}\}([^{}]*)\{\{-?\s*[$.\w]*\.Thinking\s*-?\}\}([^{}]*)")
_CALLS_BLOCK = re.compile(r"\{\{-?\s*(?:else\s+)?(?:if|with|range)\b[^{}]*\.ToolCalls\b[^{}]*\}\}", re.IGNORECASE)
_ACTION = re.compile(r"\{\{[^{}]*\}\}")


def choose(
    template: str,
    *,
    go: bool,
    tools: Sequence[str],
    think: bool | str | None,
    prompt_tail: str,
    forced: bool,
    definitions: Sequence[Mapping[str, Any]] = (),
) -> Reply:
    """How to read the reply to a prompt of this template.

    `tools` are the names offered, `definitions` what the wire says of them (parameters that take text are told from
    it). `think` is the request's: only False leaves thinking in the text. `prompt_tail` is how the rendered prompt
    ends, some 64 characters of it. `forced` calls are held to a grammar.
    """
    calls = _calls(template) if tools or _calls(template) == "harmony" else ""
    tags = None if think is False else _tags(template, go=go)
    if calls == "harmony" and think is not False:
        tags = _HARMONY
    if forced:
        calls = "json"
    return Reply(
        calls=calls,
        tools=tuple(tools),
        call_tag=_call_tag(template, go=go) if calls == "json" and not forced else "",
        thinking=tags,
        thinks_already=_inside(prompt_tail, _HARMONY if calls == "harmony" else tags),
        forced=forced,
        texts=tuple(_texts(definitions)),
    )


def _calls(template: str) -> str:
    return next((name for name, marks in _CALLS if all(mark in template for mark in marks)), "json")


def _tags(template: str, *, go: bool) -> tuple[str, str] | None:
    """Of a Go template: the text around the message's thinking (contract, section 20.1)."""
    if go:
        match = _THINKING_FIELD.search(template)
        opening, closing = (match[1].strip(), match[2].strip()) if match else ("", "")
        return (opening, closing) if opening and closing else None
    return next(((opening, closing) for mark, opening, closing in _THINKING if mark in template), None)


def _inside(prompt_tail: str, tags: tuple[str, str] | None) -> bool:
    return tags is not None and prompt_tail.rstrip().endswith(tags[0])


def _call_tag(template: str, *, go: bool) -> str:
    """Of a Go template: the first text behind `{{ if .ToolCalls }}`, up to a brace (contract, section 20.2)."""
    if not go:
        return next((tag for tag in _TAGS if tag in template), "")
    block = _CALLS_BLOCK.search(template)
    if not block:
        return ""
    text = next((piece for piece in _ACTION.split(template[block.end() :]) if piece.strip()), "")
    return text.partition("{")[0].strip() or "{"


def _texts(definitions: Sequence[Mapping[str, Any]]) -> list[str]:
    found = []
    for definition in definitions:
        function = _inner(definition, "function")
        properties = _inner(_inner(function, "parameters"), "properties")
        names = [name for name in properties if _inner(properties, name).get("type") in ("string", ["string"])]
        found += [f"{function.get('name')}.{name}" for name in names]
    return found


def _inner(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    inner = value.get(key)
    return inner if isinstance(inner, Mapping) else {}
