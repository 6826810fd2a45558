"""The shapes in which models write calls of tools, each by the tags of the templates it comes from.

hermes    <tool_call>{"name": …, "arguments": {…}}</tool_call>                      Hermes, Qwen 2.5 and 3, Granite 4
          <tool_call><function=name><parameter=key>value</parameter></function></tool_call>   Qwen3-Coder, Qwen 3.5
xml       the same, also without the outer tag, as Qwen3-Coder often leaves it out
glm       <tool_call>name<arg_key>key</arg_key><arg_value>value</arg_value></tool_call>
llama3    {"name": …, "parameters": {…}} as the whole reply, or behind <|python_tag|>, several with a semicolon between
mistral   [TOOL_CALLS][{"name": …, "arguments": {…}}, …]     [TOOL_CALLS]name[ARGS]{…}
deepseek  <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>name, then a fence (V3, R1)
          <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>name<｜tool▁sep｜>{…}<｜tool▁call▁end｜> (V3.1)
gemma     a fence of tool_code with name(key=value)     <start_function_call>call:name{key:<escape>…<escape>}
          <|tool_call>call:name{key:<|"|>…<|"|>}<tool_call|>
json      one object as the whole reply, or behind a template's own tag
forced    bare JSON, written under a grammar
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from apps.inference.parsing import dialects, reading
from apps.inference.parsing.bodies import Choice, Headed, Lone, Make, Until, Value
from apps.inference.parsing.reading import Offer
from apps.inference.parsing.reply import Reply


@dataclass(frozen=True)
class Form:
    """`openings` are tags with what reads the text behind each; `alone` reads the whole reply, where it may be a call
    without tags. `closings` belong to the call before them; `more` opens another, directly behind one only."""

    openings: Mapping[str, Make] = field(default_factory=dict)
    closings: tuple[str, ...] = ()
    more: Mapping[str, Make] = field(default_factory=dict)
    alone: Make = Lone


def form_of(reply: Reply) -> Form:
    """Raises KeyError for a shape that nobody knows."""
    if reply.forced:
        return FORCED
    return _tagged(reply.call_tag) if reply.call_tag else FORMS[reply.calls]


def json_tags(reply: Reply) -> Mapping[str, str] | None:
    """How the shape writes a call as one JSON object: its `opening` and `closing` tags, empty where it is the whole
    reply, and the name of its `arguments`. None for shapes that write calls otherwise."""
    if reply.call_tag:
        paired = _is_paired(reply.call_tag)
        return {"opening": reply.call_tag, "closing": "</" + reply.call_tag[1:]} if paired else None
    return JSON_TAGS.get(reply.calls)


def _is_paired(tag: str) -> bool:
    return tag.startswith("<") and tag.endswith(">") and tag[1:2].isalpha()


def _tagged(tag: str) -> Form:
    """A Go template's own marker: JSON behind it, or a name and then its arguments. A bracket must begin the reply."""
    if tag == "[":
        return Form(alone=partial(Lone, starts="[", read=reading.objects))
    if tag == "{":
        return FORMS["json"]
    return Form({tag: _value_or(_named)}, ("</" + tag[1:],) if _is_paired(tag) else ())


def _before_args(head: str, offer: Offer) -> str:
    name = head.partition("[ARGS]")[0].partition("[CALL_ID]")[0].strip()
    return name if name in offer.tools else ""


def _before_bracket(head: str, offer: Offer) -> str:
    name = head.strip()
    return name if name in offer.tools or name.removesuffix(".call") in offer.tools else ""


def _anywhere(head: str, offer: Offer) -> str:
    """The last name in a head, whatever marks stand around it."""
    return next((word for word in reversed(re.findall(r"[\w.-]+", head)) if word in offer.tools), "")


def _value_or(other: Make | None = None, *, angle: Make | None = None) -> Make:
    """JSON, or something else: what begins with an angle bracket, what begins with anything."""
    kinds = {"{": Value, "[": Value, **({"<": angle} if angle else {}), **({"": other} if other else {})}
    return partial(Choice, kinds=kinds)


def _deepseek(gap: str) -> dict[str, Make]:
    """The tags as a model writes them: with the vocabulary's own gap between the words, or another."""
    body = partial(Until, closing=f"<｜tool{gap}call{gap}end｜>", read=dialects.deepseek)
    return {f"<｜tool{gap}calls{gap}begin｜>": body, f"<｜tool{gap}call{gap}begin｜>": body}


_named = partial(Headed, start="{", name_in=_anywhere)
_function = partial(Until, closing="</function>", read=dialects.xml, open_ended=False)
_hermes = _value_or(angle=partial(_function, head="<function="))
_llama = _value_or(partial(Headed, start="(", name_in=_before_bracket, read=dialects.python_call))

FORMS: Mapping[str, Form] = {
    "hermes": Form({"<tool_call>": _hermes}, ("</tool_call>",)),
    "xml": Form(
        {"<tool_call>": _hermes, "<seed:tool_call>": _hermes, "<function=": _function},
        ("</tool_call>", "</seed:tool_call>"),
    ),
    "glm": Form({"<tool_call>": partial(Until, closing="</tool_call>", read=dialects.glm, open_ended=False)}),
    "llama3": Form({"<|python_tag|>": _llama}, ("<|eom_id|>", "<|eot_id|>"), {";": _llama}),
    "mistral": Form({"[TOOL_CALLS]": _value_or(partial(Headed, start="{", name_in=_before_args))}),
    "deepseek": Form(
        {**_deepseek("▁"), **_deepseek("_"), **_deepseek(" ")},
        ("<｜tool▁calls▁end｜>", "<｜tool_calls_end｜>", "<｜tool calls end｜>", "<｜end▁of▁sentence｜>"),
    ),
    "gemma": Form(
        {
            "```tool_code": partial(Until, closing="```", read=dialects.python),
            "<start_function_call>": partial(Until, head="call:", closing="<end_function_call>", read=dialects.gemma),
            "<|tool_call>": partial(Until, head="call:", closing="<tool_call|>", read=dialects.gemma),
        },
        ("<start_function_response>", "<|tool_response>"),
    ),
    "json": Form(),
}
FORCED = Form(alone=_value_or())
JSON_TAGS: Mapping[str, Mapping[str, str]] = {
    "hermes": {"opening": "<tool_call>", "closing": "</tool_call>"},
    "llama3": {"arguments": "parameters"},
    "json": {"opening": ""},
}
