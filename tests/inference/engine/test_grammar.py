"""What a grammar lets through, byte by byte, and which schemas are refused."""

import json
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.errors import Problem
from apps.inference.engine.compiling import Compiler
from apps.inference.engine.grammar import Grammar, Thinking
from apps.inference.engine.matching import Constraint, constrain
from apps.inference.engine.schemas import MOST_NODES
from tests.fakes import END, TOKENIZER

REF = {"$ref": "#/$defs/node"}
TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"value": {"type": "integer"}, "next": {"anyOf": [REF, {"type": "null"}]}},
            "required": ["value", "next"],
            "additionalProperties": False,
        }
    },
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"$ref": "#/$defs/city"}, "days": {"type": "integer", "maximum": 9}},
            "required": ["city"],
            "additionalProperties": False,
            "$defs": {"city": {"enum": ["Paris", "Rome"]}},
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock"}}


def allowed(constraint: Constraint) -> set[int]:
    mask = constraint.mask()
    assert mask is not None
    return set(np.unpackbits(mask, bitorder="little").nonzero()[0].tolist())


def fits(constraint: Constraint, text: str) -> bool:
    """Whether each byte of the text is allowed in its turn, and the end behind them."""
    for byte in text.encode():
        if byte not in allowed(constraint):
            return False
        constraint.take(byte, bytes([byte]))
    return constraint.closed or END in allowed(constraint)


def held_to(schema: Any) -> Constraint:
    return constrain(Grammar("schema", schema), TOKENIZER)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, '{"a": 5}', '{"a": "5"}'),
        ({"type": "object", "additionalProperties": False}, "{}", '{"b": 1}'),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, '{"b": 1}', '{"b": true}'),
        ({"enum": ["red", 3, None]}, "null", '"blue"'),
        ({"const": {"a": [1]}}, '{"a": [1]}', '{"a": [2]}'),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3}, "[1, 2]", "[1]"),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3}, "[1,2,3]", "[1,2,3,4]"),
        ({"type": "array", "prefixItems": [{"type": "integer"}], "items": False}, "[1]", "[1, 2]"),
        ({"type": "string", "pattern": "^[A-Z]{2}-\\d+$"}, '"AB-17"', '"ab-17"'),
        ({"type": "string", "minLength": 2, "maxLength": 3}, '"äöü"', '"abcd"'),
        ({"type": "string", "format": "date"}, '"2024-02-28"', '"2024-2-28"'),
        ({"type": "string", "format": "uuid"}, '"3fa85f64-5717-4562-b3fc-2c963f66afa6"', '"3fa85f64"'),
        ({"type": "integer", "minimum": 10, "maximum": 120}, "99", "121"),
        ({"type": "integer", "multipleOf": 5}, "35", "36"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "0.25", "1.5"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "null", "1"),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, "7", "true"),
        ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, "3", "2"),
        ({"type": ["boolean", "null"]}, "true", "0"),
        (TREE, '{"value": 1, "next": {"value": 2, "next": null}}', '{"value": 1}'),
        ({"$ref": "#/definitions/x", "definitions": {"x": {"type": "boolean"}}}, "false", "1"),
        ({}, '[1, {"a": null}]', "nil"),
    ],
)
def test_what_a_schema_says_is_what_may_be_said(schema: Any, good: str, bad: str) -> None:
    jsonschema.validate(json.loads(good), schema)
    assert fits(held_to(schema), good)
    assert not fits(held_to(schema), bad)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "format": "no-such-format"},
        {"type": "array", "items": {"type": "integer", "format": "int64"}, "uniqueItems": False},
        {"type": "object", "title": "t", "description": "d", "$schema": "https://json-schema.org/x", "$id": "x:y"},
        {"type": "object", "properties": {"format": {"type": "string", "default": {"format": 1}}}},
        {"type": "string", "x-guidance": {"whitespace_pattern": "("}},
    ],
)
def test_what_says_nothing_about_an_instance_is_no_reason_to_refuse(schema: Any) -> None:
    assert allowed(held_to(schema))


def test_a_property_that_is_called_like_a_keyword_is_a_property() -> None:
    schema = {"type": "object", "properties": {"format": {"const": "x"}}, "required": ["format"]}
    assert fits(held_to(schema), '{"format": "x"}')
    assert not fits(held_to(schema), "{}")


@pytest.mark.parametrize(
    ("schema", "fine"),
    [
        ({"properties": {"a": {}}}, False),
        ({"properties": {"a": {}}, "required": ["a"]}, False),
        ({"properties": {"a": {}}, "additionalProperties": True}, True),
        ({"properties": {"a": {}}, "required": ["b"]}, True),
        ({"properties": {"a": {}}, "anyOf": [{"required": ["b"]}, {"required": ["a"]}]}, True),
        ({"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}]}, True),
        ({"patternProperties": {"^b": {}}, "properties": {"a": {}}}, True),
        ({"properties": {}}, True),
    ],
)
def test_an_object_whose_properties_are_listed_has_no_others_unless_they_are_spoken_of(schema: Any, fine: bool) -> None:
    assert fits(held_to({"type": "object", **schema}), '{"a": 1, "b": 2}') is fine
    if fine:
        jsonschema.validate({"a": 1, "b": 2}, schema)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "strin"}, "strin"),
        ({"$ref": "#/$defs/none"}, "/$defs/none"),
        ({"$ref": "https://example.com/schema"}, "example.com"),
        ({"not": {"type": "string"}}, '"not"'),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"type": "string", "pattern": "^(?=a)b"}, "look-around"),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "minimum"),
        ({"oneOf": [{"type": "number"}, {"type": "integer"}]}, "exclude one another"),
        ({"$ref": "#"}, ""),
        ([1], "must be a JSON object"),
        ({"anyOf": [{"const": 1}] * MOST_NODES}, "objects and lists"),
        ({"type": "object", "properties": {f"p{at}": {"type": "integer"} for at in range(3000)}}, "too large"),
        ({"type": "array", "items": {"properties": {f"p{at}": {} for at in range(3000)}}}, "too large"),
    ],
)
def test_a_schema_that_cannot_be_compiled_is_refused_with_its_reason(schema: Any, reason: str) -> None:
    with pytest.raises(Problem) as caught:
        held_to(schema)
    assert caught.value.code == "invalid" and reason in caught.value.message
    assert caught.value.message.startswith("the format cannot be used: ") and "\n" not in caught.value.message
    assert len(caught.value.message) < 400


def test_a_schema_that_is_nested_too_deep_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(200):
        schema = {"properties": {"a": schema}}
    with pytest.raises(Problem, match="levels deep"):
        held_to(schema)


def test_the_longest_chain_of_references_that_is_let_pass_harms_nobody() -> None:
    """The compiler recurses through them: on a usual stack a third of this ends the process."""
    links = MOST_NODES // 4 - 1
    link = "#/$defs/d{}"
    chain = {
        f"d{at}": {"type": "object", "properties": {"a": {"$ref": link.format(at + 1)}}, "required": ["a"]}
        for at in range(links)
    }
    schema = {"$ref": link.format(0), "$defs": {**chain, f"d{links}": {"const": 5}}}
    results: list[Constraint | Problem] = []
    compiler = Compiler(lambda: TOKENIZER)
    compiler.order(Grammar("schema", schema), results.append)
    assert compiler._thread
    while not results:
        compiler._thread.join(0.01)
    assert isinstance(results[0], Constraint)
    assert not fits(results[0], '{"a": {"a": {"a": 5')


def test_json_mode_is_an_object() -> None:
    assert fits(constrain(Grammar("json"), TOKENIZER), '{"a": [1, "x", {"b": null}]}')
    assert not fits(constrain(Grammar("json"), TOKENIZER), "[1]")


@pytest.mark.parametrize("text", ['{\n    "a": 1\n}', '{"a":1}', '{ "a" : 1 }', '{\r\n\t"a": 1}'])
def test_whitespace_is_what_models_write(text: str) -> None:
    assert fits(constrain(Grammar("json"), TOKENIZER), text)


@pytest.mark.parametrize("text", ["{\n\n}", "{" + 100 * " " + "}", '{"a":  1}', "\n{}", "{\n" + 65 * " " + "}"])
def test_no_run_of_whitespace_is_endless(text: str) -> None:
    assert not fits(constrain(Grammar("json"), TOKENIZER), text)


def test_nothing_may_follow_what_is_whole() -> None:
    constraint = constrain(Grammar("json"), TOKENIZER)
    assert fits(constraint, "{}") and constraint.closed


CALL = '{"name": "weather", "arguments": {"city": "Rome", "days": 3}}'


@pytest.mark.parametrize(
    ("choice", "text", "fine"),
    [
        ("weather", CALL, True),
        ("weather", '{"name": "clock", "arguments": {}}', False),
        ("weather", '{"name": "weather", "arguments": {"city": "Oslo"}}', False),
        ("weather", '{"name": "weather"}', False),
        ("weather", f"[{CALL}]", False),
        ("required", '{"name": "clock", "arguments": {"any": 1}}', True),
        ("required", f'[{CALL}, {{"name": "clock", "arguments": {{}}}}]', True),
        ("required", "[]", False),
        ("required", '{"name": "other", "arguments": {}}', False),
    ],
)
def test_a_call_is_held_to_the_parameters_of_its_tool(choice: str, text: str, fine: bool) -> None:
    grammar = Grammar("tools", tools=(WEATHER, CLOCK), choice=choice)
    assert fits(constrain(grammar, TOKENIZER), text) is fine


def test_a_choice_of_a_tool_that_is_not_there_is_refused() -> None:
    with pytest.raises(Problem, match="no tool is named 'other'"):
        constrain(Grammar("tools", tools=(CLOCK,), choice="other"), TOKENIZER)


def test_parameters_that_cannot_be_compiled_name_their_tool() -> None:
    deep: dict[str, Any] = {}
    for _ in range(150):
        deep = {"items": deep}
    tool = {"function": {"name": "bad", "parameters": deep}}
    with pytest.raises(Problem, match="the parameters of 'bad'"):
        constrain(Grammar("tools", tools=(tool,), choice="bad"), TOKENIZER)


@pytest.mark.parametrize(
    "grammar",
    [
        Grammar("json"),
        Grammar("schema", TREE, thinking=Thinking("<think>", "</think>")),
        Grammar("tools", tools=(WEATHER,), choice="weather"),
    ],
)
def test_a_grammar_crosses_as_json(grammar: Grammar) -> None:
    assert Grammar.from_data(json.loads(json.dumps(grammar.as_data()))) == grammar


def test_a_command_may_say_apart_from_the_grammar_that_the_model_thinks_first() -> None:
    thinking = Thinking("", "</think>")
    assert Grammar.from_data({"kind": "json"}, thinking=thinking) == Grammar("json", thinking=thinking)


LEAVES = st.sampled_from(
    [
        {"type": "integer", "minimum": -40, "maximum": 1000},
        {"type": "number", "minimum": 0, "maximum": 2},
        {"type": "string", "maxLength": 8},
        {"type": "string", "pattern": "^a[bc]{1,3}$"},
        {"type": "boolean"},
        {"enum": ["x", 1, None, {"y": []}]},
    ]
)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    arrays = st.builds(
        lambda items, most: {"type": "array", "items": items, "maxItems": most}, inner, st.integers(0, 3)
    )
    names = st.text(alphabet='ab"\\é ', min_size=1, max_size=3)
    objects = st.builds(
        lambda properties: {
            "type": "object",
            "properties": properties,
            "required": sorted(properties)[:2],
            "additionalProperties": False,
        },
        st.dictionaries(names, inner, max_size=3),
    )
    return arrays | objects | st.builds(lambda one, other: {"anyOf": [one, other]}, inner, inner)


@settings(deadline=None, max_examples=150)
@given(schema=st.recursive(LEAVES, _nested, max_leaves=6), choices=st.randoms(use_true_random=False))
def test_whatever_is_chosen_the_reply_is_an_instance_of_the_schema(schema: Any, choices: Any) -> None:
    constraint, said = held_to(schema), bytearray()
    for _ in range(3000):
        tokens = sorted(allowed(constraint)) if not constraint.closed else [END]
        if END in tokens:
            break
        token = choices.choice(tokens)
        constraint.take(token, bytes([token]))
        said.append(token)
    else:
        pytest.fail("the reply has no end")
    jsonschema.validate(json.loads(said.decode()), schema)
