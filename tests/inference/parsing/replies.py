"""What models write, format by format, and what it means."""

from dataclasses import dataclass
from typing import Any

from apps.inference.parsing import Called, Parser, Piece, Reply, Said

TOOLS = ("get_weather", "now", "write_file")
Call = tuple[str, dict[str, object]]
PARIS: Call = ("get_weather", {"city": "Paris"})
ROME: Call = ("get_weather", {"city": "Rome"})
NOW: Call = ("now", {})


@dataclass(frozen=True)
class Case:
    """`means` are texts and lists of calls in order."""

    calls: str
    text: str
    means: tuple[str | list[Call], ...]
    call_tag: str = ""
    forced: bool = False

    @property
    def reply(self) -> Reply:
        texts = ("write_file.content",)
        return Reply(self.calls, TOOLS, call_tag=self.call_tag, forced=self.forced, texts=texts)


def meaning(pieces: list[Piece]) -> tuple[Any, ...]:
    """Texts that follow each other joined, calls without their ids; a thought as a pair."""
    found: list[Any] = []
    for piece in pieces:
        if isinstance(piece, Called):
            found.append([(call.name, call.arguments) for call in piece.calls])
        elif isinstance(piece, Said):
            found.append((found.pop() if found and isinstance(found[-1], str) else "") + piece.text)
        else:
            before = found.pop()[1] if found and isinstance(found[-1], tuple) else ""
            found.append(("thought", before + piece.text))
    return tuple(found)


def read(reply: Reply, *parts: str) -> tuple[Any, ...]:
    parser = Parser(reply)
    pieces = [piece for part in parts for piece in parser.feed(part)]
    return meaning(pieces + parser.close())


def _json(name: str, city: str, key: str = "arguments") -> str:
    return f'{{"name": "{name}", "{key}": {{"city": "{city}"}}}}'


_PARIS = _json("get_weather", "Paris")
_ROME = _json("get_weather", "Rome")
_OTHER = _json("rm", "Rome")
_XML = "<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>"
_RM_XML = _XML.replace("get_weather", "rm")
_PARAMETERS = _json("get_weather", "Paris", "parameters")
_RM_GEMMA = "<start_function_call>call:rm{}<end_function_call>"
_GLM = "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n</tool_call>"
_FILE = "<function=write_file>\n<parameter=content>\n5\n\n</parameter>\n<parameter=mode>\n5\n</parameter>\n</function>"
_D = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>"
_DEND = "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
_V3 = 'function<｜tool▁sep｜>get_weather\n```json\n{"city": "Paris"}\n```'

CASES = [
    Case("hermes", f"<tool_call>\n{_PARIS}\n</tool_call>", ([PARIS],)),
    Case("hermes", f"<tool_call>{_PARIS}</tool_call>\n<tool_call>{_ROME}</tool_call>\n", ([PARIS], [ROME])),
    Case("hermes", f"I look.\n<tool_call>\n{_PARIS}\n</tool_call>\nDone.", ("I look.\n", [PARIS], "\nDone.")),
    Case("hermes", f"\n\n<tool_call>{_PARIS}", ([PARIS],)),
    Case("hermes", '<tool_call>{"name": "now"}</tool_call>', ([NOW],)),
    Case("hermes", '<tool_call>{"name": "now", "arguments": null}</tool_call>', ([NOW],)),
    Case("hermes", '<tool_call>{"arguments": "{\\"city\\": \\"Paris\\"}", "name": "get_weather"}', ([PARIS],)),
    Case("hermes", f'<tool_call>{{"type": "function", "function": {_PARIS}}}</tool_call>', ([PARIS],)),
    Case("hermes", f"<tool_call>[{_PARIS}, {_ROME}]</tool_call>", ([PARIS, ROME],)),
    Case("hermes", '<tool_call>{"name": "write_file", "arguments": {"content": "a</tool_call>}\\""}}</tool_call>',
         ([("write_file", {"content": 'a</tool_call>}"'})],)),
    Case("hermes", f"<tool_call>{_OTHER}</tool_call>", (f"<tool_call>{_OTHER}</tool_call>",)),
    Case("hermes", f"<tool_call>{_PARIS[:-4]}", (f"<tool_call>{_PARIS[:-4]}",)),
    Case("hermes", "\n<tool_call>{'name': 'now'}</tool_call> x", ("\n<tool_call>{'name': 'now'}</tool_call> x",)),
    Case("hermes", f"<tool_call> so <tool_call>{_PARIS}</tool_call>", ("<tool_call> so ", [PARIS])),
    Case("hermes", "a <tool_call is no tag, </tool_call> neither", ("a <tool_call is no tag, </tool_call> neither",)),
    Case("hermes", f"<tool_call>\n{_XML}\n</tool_call>", ([PARIS],)),
    Case("hermes", f"<tool_call>{_PARIS}</tool", ([PARIS], "</tool")),
    Case("xml", f"Well.\n<tool_call>\n{_XML}\n</tool_call>", ("Well.\n", [PARIS])),
    Case("xml", f"{_XML}\n</tool_call>", ([PARIS],)),
    Case("xml", _FILE, ([("write_file", {"content": "5\n", "mode": 5})],)),
    Case("xml", "<tool_call><function=now></function></tool_call>", ([NOW],)),
    Case("xml", _XML[:-3], (_XML[:-3],)),
    Case("xml", f"<tool_call>{_RM_XML}</tool_call>", (f"<tool_call>{_RM_XML}</tool_call>",)),
    Case("glm", _GLM, ([PARIS],)),
    Case("glm", "<tool_call>rm</tool_call>", ("<tool_call>rm</tool_call>",)),
    Case("llama3", _PARAMETERS, ([PARIS],)),
    Case("llama3", f'<|python_tag|>{_PARAMETERS}', ([PARIS],)),
    Case("llama3", f'<|python_tag|>{{"type": "function", {_PARAMETERS[1:]}; {_ROME}<|eom_id|>',
         ([PARIS], [ROME])),
    Case("llama3", '<|python_tag|>get_weather.call(city="Paris")', ([PARIS],)),
    Case("llama3", "<|python_tag|>print(2 ** 10)", ("<|python_tag|>print(2 ** 10)",)),
    Case("llama3", f"{_PARIS}; {_ROME}", (f"{_PARIS}; {_ROME}",)),
    Case("mistral", f"[TOOL_CALLS][{_PARIS}, {_ROME}]", ([PARIS, ROME],)),
    Case("mistral", f'[TOOL_CALLS] [{_PARIS[:-1]}, "id": "abcdefghi"}}]', ([PARIS],)),
    Case("mistral", '[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}[TOOL_CALLS]now[ARGS]{}', ([PARIS], [NOW])),
    Case("mistral", '[TOOL_CALLS]get_weather[CALL_ID]123456789[ARGS]{"city": "Paris"}', ([PARIS],)),
    Case("mistral", f"[TOOL_CALLS][{_PARIS}, {_OTHER}]", (f"[TOOL_CALLS][{_PARIS}, {_OTHER}]",)),
    Case("mistral", '[TOOL_CALLS]rm[ARGS]{"a": 1}', ('[TOOL_CALLS]rm[ARGS]{"a": 1}',)),
    Case("deepseek", f"{_D}{_V3}{_DEND}", ([PARIS],)),
    Case("deepseek", f"{_D}{_V3}<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>{_V3}{_DEND}", ([PARIS], [PARIS])),
    Case("deepseek", f'Well.{_D}get_weather<｜tool▁sep｜>{{"city": "Paris"}}{_DEND}', ("Well.", [PARIS])),
    Case("deepseek", f'{_D}get_weather<｜tool▁sep｜>{{"city": "Paris"}}', ([PARIS],)),
    Case("deepseek", f"<｜tool▁calls▁begin｜>{_V3}{_DEND}", ([PARIS],)),
    Case("deepseek", f"{_D}rm<｜tool▁sep｜>{{}}{_DEND}", (f"{_D}rm<｜tool▁sep｜>{{}}{_DEND}",)),
    Case("deepseek", f"{_D}nonsense", (f"{_D}nonsense",)),
    Case("gemma", '```tool_code\nprint(get_weather(city="Paris"))\n```', ([PARIS],)),
    Case("gemma", '```tool_code\n[get_weather(city="Paris"), default_api.now()]\n```\nSo.', ([PARIS, NOW], "\nSo.")),
    Case("gemma", "```tool_code\nget_weather(city=where)\n```", ("```tool_code\nget_weather(city=where)\n```",)),
    Case("gemma", "```tool_code\nget_weather(city={1, 2})\n```", ("```tool_code\nget_weather(city={1, 2})\n```",)),
    Case("gemma", "<start_function_call>call:get_weather{city:<escape>Paris<escape>}<end_function_call>", ([PARIS],)),
    Case("gemma", '<|tool_call>call:write_file{a:[1,<|"|>x, "y"<|"|>],b:{c:true,<|"|>d e<|"|>:null}}<tool_call|>',
         ([("write_file", {"a": [1, 'x, "y"'], "b": {"c": True, "d e": None}})],)),
    Case("gemma", _RM_GEMMA, (_RM_GEMMA,)),
    Case("gemma", f"```json\n{_PARAMETERS}\n```", ([PARIS],)),
    Case("json", _PARIS, ([PARIS],)),
    Case("json", f" \n{_PARIS}\n ", ([PARIS],)),
    Case("json", f"```json\n{_PARIS}\n```\n", ([PARIS],)),
    Case("json", f"```\n{_PARIS}\n```", ([PARIS],)),
    Case("json", f"{_PARIS}\n{_ROME}", (f"{_PARIS}\n{_ROME}",)),
    Case("json", f"{_PARIS} there", (f"{_PARIS} there",)),
    Case("json", f"Here: {_PARIS}", (f"Here: {_PARIS}",)),
    Case("json", f"[{_PARIS}]", (f"[{_PARIS}]",)),
    Case("json", f"```json\n{_PARIS}\n", (f"```json\n{_PARIS}\n",)),
    Case("json", f"```python\n{_PARIS}\n```", (f"```python\n{_PARIS}\n```",)),
    Case("json", _OTHER, (_OTHER,)),
    Case("json", '{"name": "now"}', ('{"name": "now"}',)),
    Case("json", '{"name": "now", "arguments": {}, "why": 1}', ('{"name": "now", "arguments": {}, "why": 1}',)),
    Case("json", '{"city": "Paris"}', ('{"city": "Paris"}',)),
    Case("json", '{"name": "now", "parameters": {"type": "object", "properties": {}}}',
         ('{"name": "now", "parameters": {"type": "object", "properties": {}}}',)),
    Case("json", '{"name": "now", "arguments": {"a": NaN}}', ('{"name": "now", "arguments": {"a": NaN}}',)),
    Case("json", '{"name": "now", "arguments": {"a": 1e999}}', ('{"name": "now", "arguments": {"a": 1e999}}',)),
    Case("json", '{"name": "now", "arguments": {"a": "\\ud800"}}', ('{"name": "now", "arguments": {"a": "\\ud800"}}',)),
    Case("json", f"<function_call>{_PARIS}</function_call>", ([PARIS],), call_tag="<function_call>"),
    Case("json", f"TOOL: {_PARIS}\nTOOL: {_ROME}", ([PARIS], [ROME]), call_tag="TOOL:"),
    Case("json", 'Hm. >>get_weather: {"city": "Paris"} ok', ("Hm. ", [PARIS], " ok"), call_tag=">>"),
    Case("json", '>>rm: {"city": "Paris"}', ('>>rm: {"city": "Paris"}',), call_tag=">>"),
    Case("json", f"[{_PARIS}, {_ROME}]", ([PARIS, ROME],), call_tag="["),
    Case("json", _PARIS, ([PARIS],), call_tag="{"),
    Case("json", f"{_PARIS}\n", ([PARIS],), forced=True),
    Case("json", f"[{_PARIS},{_ROME}]", ([PARIS, ROME],), forced=True),
    Case("json", _PARIS[:-1], (_PARIS[:-1],), forced=True),
]  # fmt: skip
