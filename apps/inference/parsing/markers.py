"""The control tokens a parser looks for. A vocabulary that has one as a token gives it no text of its own, so an engine
must be told to say it; where it has none, the tag comes as any other text."""

import re

from apps.inference.parsing.forms import form_of
from apps.inference.parsing.reply import Reply

_INSIDE: dict[str, tuple[str, ...]] = {  # of calls, beside the tags around them
    "xml": ("</function>", "</parameter>"),
    "glm": ("</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
    "mistral": ("[ARGS]", "[CALL_ID]"),
    "deepseek": ("<｜tool▁sep｜>", "<｜tool▁call▁end｜>", "<｜tool_sep｜>", "<｜tool_call_end｜>"),
    "gemma": ("<escape>", '<|"|>', "<end_function_call>", "<tool_call|>"),
    "harmony": ("<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>"),
}
_MARK = re.compile(r"<[^<>]+>|\[[^\[\]]+\]")


def markers(reply: Reply) -> tuple[str, ...]:
    """Empty where all of a reply is text."""
    tags = list(reply.thinking or ())
    if reply.calls and not reply.forced:
        tags += _INSIDE.get(reply.calls, ())
    if reply.calls and reply.calls != "harmony" and not reply.forced:
        form = form_of(reply)
        tags += [*form.openings, *form.closings]
    return tuple(dict.fromkeys(mark for tag in tags for mark in _MARK.findall(tag)))
