"""Bodies as Go reads them: a table of texts, and a property: nothing but a body or a Problem ever comes out."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.api.ollama import bodies, decode, syntax
from apps.api.ollama.bodies import ChatRequest, CreateRequest, GenerateRequest, ShowRequest
from apps.errors import Problem

KINDS = [getattr(bodies, name) for name in dir(bodies) if name.endswith("Request")]
GO_FIELD = "json: cannot unmarshal {} into Go struct field {} of type {}"

SYNTAX = [
    ("", "missing request body"),
    (" \r\n\t ", "missing request body"),
    ("{", "unexpected EOF"),
    ('{"model":', "unexpected EOF"),
    ('{"model":"x', "unexpected EOF"),
    ('{"model":"x"', "unexpected EOF"),
    ("[", "unexpected EOF"),
    ("nul", "unexpected EOF"),
    ('{"a":"\\u12', "unexpected EOF"),
    ('{"a":-', "unexpected EOF"),
    ("not json", "invalid character 'o' in literal null (expecting 'u')"),
    ("hello", "invalid character 'h' looking for beginning of value"),
    ("trap", "invalid character 'a' in literal true (expecting 'u')"),
    ("falsy", "invalid character 'y' in literal false (expecting 'e')"),
    ('{"model":"x",}', "invalid character '}' looking for beginning of object key string"),
    ("{5:1}", "invalid character '5' looking for beginning of object key string"),
    ('{"a"5}', "invalid character '5' after object key"),
    ('{"a":1 "b":2}', "invalid character '\"' after object key:value pair"),
    ("{\"a\":'b'}", "invalid character '\\'' looking for beginning of value"),
    ('{"a":[1 2]}', "invalid character '2' after array element"),
    ('{"a":[1,]}', "invalid character ']' looking for beginning of value"),
    ('{"a":[}', "invalid character '}' looking for beginning of value"),
    ('{"model":"a\tb"}', "invalid character '\\t' in string literal"),
    ('{"model":"a\x01b"}', "invalid character '\\x01' in string literal"),
    ('{"model":"a\\xb"}', "invalid character 'x' in string escape code"),
    ('{"model":"a\\u12G4"}', "invalid character 'G' in \\u hexadecimal character escape"),
    ('{"a":01}', "invalid character '1' after object key:value pair"),
    ('{"a":1.}', "invalid character '}' after decimal point in numeric literal"),
    ('{"a":1e}', "invalid character '}' in exponent of numeric literal"),
    ('{"a":-x}', "invalid character 'x' in numeric literal"),
    ('{"a":NaN}', "invalid character 'N' looking for beginning of value"),
    ('{"a":Infinity}', "invalid character 'I' looking for beginning of value"),
    ('{"a":-Infinity}', "invalid character 'I' in numeric literal"),
    ("\ufeff{}", "invalid character '\\ufeff' looking for beginning of value"),
    ("[" * 100_000, "exceeded max depth"),
    ('{"format":' + "[" * 300 + "]" * 300 + "}", "exceeded max depth"),
]

TYPES = [
    (GenerateRequest, "[]", "json: cannot unmarshal array into Go value of type api.GenerateRequest"),
    (GenerateRequest, '"x"', "json: cannot unmarshal string into Go value of type api.GenerateRequest"),
    (GenerateRequest, "5", "json: cannot unmarshal number into Go value of type api.GenerateRequest"),
    (GenerateRequest, "true", "json: cannot unmarshal bool into Go value of type api.GenerateRequest"),
    (GenerateRequest, '{"model":5}', GO_FIELD.format("number", "GenerateRequest.model", "string")),
    (GenerateRequest, '{"MODEL":5}', GO_FIELD.format("number", "GenerateRequest.model", "string")),
    (GenerateRequest, '{"model":5,"model":"x"}', GO_FIELD.format("number", "GenerateRequest.model", "string")),
    (GenerateRequest, '{"raw":{},"model":5}', GO_FIELD.format("object", "GenerateRequest.raw", "bool")),
    (GenerateRequest, '{"stream":"true"}', GO_FIELD.format("string", "GenerateRequest.stream", "bool")),
    (
        GenerateRequest,
        '{"options":"abc"}',
        GO_FIELD.format("string", "GenerateRequest.options", "map[string]interface {}"),
    ),
    (GenerateRequest, '{"top_logprobs":1.5}', GO_FIELD.format("number 1.5", "GenerateRequest.top_logprobs", "int")),
    (GenerateRequest, '{"top_logprobs":1e2}', GO_FIELD.format("number 1e2", "GenerateRequest.top_logprobs", "int")),
    (
        GenerateRequest,
        '{"top_logprobs":9223372036854775808}',
        GO_FIELD.format("number 9223372036854775808", "GenerateRequest.top_logprobs", "int"),
    ),
    (
        GenerateRequest,
        '{"context":[1.5]}',
        "json: cannot unmarshal number 1.5 into GenerateRequest.context.0 of type int",
    ),
    (GenerateRequest, '{"context":[1,true]}', "json: cannot unmarshal bool into GenerateRequest.context.1 of type int"),
    (
        GenerateRequest,
        '{"images":["!!!"]}',
        "json: cannot unmarshal string into GenerateRequest.images.0 of type api.ImageData: "
        "illegal base64 data at input byte 0",
    ),
    (
        GenerateRequest,
        '{"images":[5]}',
        "json: cannot unmarshal number into GenerateRequest.images.0 of type api.ImageData",
    ),
    (ChatRequest, '{"stream":"yes"}', GO_FIELD.format("string", "ChatRequest.stream", "bool")),
    (ChatRequest, '{"messages":"hi"}', GO_FIELD.format("string", "ChatRequest.messages", "[]api.Message")),
    (ChatRequest, '{"messages":{}}', GO_FIELD.format("object", "ChatRequest.messages", "[]api.Message")),
    (ChatRequest, '{"messages":[5]}', "json: cannot unmarshal number into Go value of type api.Alias"),
    (ChatRequest, '{"messages":[{"content":["a"]}]}', GO_FIELD.format("array", "Alias.content", "string")),
    (
        ChatRequest,
        '{"messages":[{"images":["data:image/png;base64,AA"]}]}',
        "json: cannot unmarshal string into Alias.images.0 of type api.ImageData: illegal base64 data at input byte 4",
    ),
    (
        ChatRequest,
        '{"messages":[{"tool_calls":[{"function":{"arguments":"{}"}}]}]}',
        "Value looks like object, but can't find closing '}' symbol",
    ),
    (
        ChatRequest,
        '{"tools":[{"type":5}]}',
        "json: cannot unmarshal number into ChatRequest.tools.0.type of type string",
    ),
    (
        ChatRequest,
        '{"think":"ultra"}',
        'invalid think value: "ultra" (must be "high", "medium", "low", "max", true, or false)',
    ),
    (ChatRequest, '{"think":""}', 'invalid think value: "" (must be "high", "medium", "low", "max", true, or false)'),
    (ChatRequest, '{"think":1}', 'think must be a boolean or string ("high", "medium", "low", "max", true, or false)'),
    (ChatRequest, '{"keep_alive":"5"}', 'time: missing unit in duration "5"'),
    (ChatRequest, '{"keep_alive":"abc"}', 'time: invalid duration "abc"'),
    (ChatRequest, '{"keep_alive":true}', "Unsupported type: 'bool'"),
    (ChatRequest, '{"keep_alive":[]}', "Unsupported type: '[]interface {}'"),
    (ChatRequest, '{"keep_alive":{}}', "Unsupported type: 'map[string]interface {}'"),
    (
        ChatRequest,
        '{"options":{"seed":1e999}}',
        "json: cannot unmarshal number 1e999 into ChatRequest.options.seed of type float64",
    ),
    (CreateRequest, '{"files":{"a":5}}', "json: cannot unmarshal number into CreateRequest.files.a of type string"),
]


@pytest.mark.parametrize(("text", "sentence"), SYNTAX)
def test_a_text_that_is_no_json_is_refused_in_gos_words(text: str, sentence: str) -> None:
    with pytest.raises(Problem) as raised:
        decode.decode(GenerateRequest, text.encode())
    assert (raised.value.status, raised.value.message) == (400, sentence)


@pytest.mark.parametrize(("kind", "text", "sentence"), TYPES)
def test_a_value_of_another_type_is_refused_in_gos_words(kind: type, text: str, sentence: str) -> None:
    with pytest.raises(Problem) as raised:
        decode.decode(kind, text.encode())
    assert (raised.value.status, raised.value.message) == (400, sentence)


def test_a_fault_in_the_text_wins_over_a_wrong_type() -> None:
    with pytest.raises(Problem, match="unexpected EOF"):
        decode.decode(GenerateRequest, b'{"model":5,')


@pytest.mark.parametrize("text", ["null", "{}", '{"model":null,"stream":null,"options":null,"context":null}'])
def test_null_and_nothing_make_an_empty_request(text: str) -> None:
    assert decode.decode(GenerateRequest, text.encode()) == GenerateRequest()


def test_names_match_without_case_and_the_last_duplicate_wins() -> None:
    body = decode.decode(
        GenerateRequest, b'{"MODEL":"a","model":"b","Prompt":"c","\xe2\x84\xaaeep_alive":60,"x":1} junk'
    )
    assert (body.model, body.prompt, body.keep_alive) == ("b", "c", 60.0)


def test_a_null_after_a_value_keeps_a_text_and_clears_a_list() -> None:
    body = decode.decode(
        GenerateRequest, b'{"model":"a","model":null,"context":[1],"context":null,"raw":true,"raw":null}'
    )
    assert (body.model, body.context, body.raw) == ("a", (), True)


def test_absent_and_false_are_told_apart_only_where_it_matters() -> None:
    assert decode.decode(ChatRequest, b'{"stream":false}').stream is False
    assert decode.decode(ChatRequest, b'{"stream":null}').stream is None


def test_elements_that_are_null_are_zero_values() -> None:
    body = decode.decode(ChatRequest, b'{"messages":[null,{"role":"user","content":null}]}')
    assert [message.content for message in body.messages] == ["", ""]


def test_half_a_surrogate_becomes_the_replacement_character() -> None:
    body = decode.decode(GenerateRequest, b'{"prompt":"a\\ud800b","options":{"\\udc00":"\\ud83d\\ude00"}}')
    assert body.prompt == "a\ufffdb"
    assert body.options == {"\ufffd": "😀"}


def test_bytes_that_are_no_utf8_become_replacement_characters() -> None:
    assert decode.decode(GenerateRequest, b'{"prompt":"\xff"}').prompt == "\ufffd"


def test_a_nul_is_a_character_like_others() -> None:
    assert decode.decode(GenerateRequest, b'{"prompt":"a\\u0000b"}').prompt == "a\x00b"


def test_a_huge_number_of_values_is_refused_before_it_is_built() -> None:
    with pytest.raises(Problem) as raised:
        decode.decode(GenerateRequest, b'{"x":[' + b"{}," * decode.MAX_VALUES + b"{}]}")
    assert raised.value.status == 413


def test_a_long_prompt_and_a_long_context_are_read() -> None:
    body = decode.decode(
        GenerateRequest, json.dumps({"prompt": "x" * 4_000_000, "context": list(range(100_000))}).encode()
    )
    assert (len(body.prompt), len(body.context)) == (4_000_000, 100_000)


def test_integers_stay_integers_and_floats_floats_in_options() -> None:
    body = decode.decode(GenerateRequest, b'{"options":{"a":1,"b":1.5,"c":123456789012345678,"d":1e2,"e":true}}')
    assert body.options == {"a": 1, "b": 1.5, "c": 123456789012345678, "d": 100.0, "e": True}
    assert [type(value) for value in body.options.values()] == [int, float, int, float, bool]


@pytest.mark.parametrize(("text", "offset"), [
    ("", None), ("QQ==", None), ("QUI=", None), ("QU\r\nJD", None), ("QQ=\n=\n", None),
    ("Q", 0), ("QQ", 0), ("QUJDQ", 4), ("QQ=", 3), ("QQ=x", 2), ("QQ==x", 4), ("QUI=x", 4), ("Q===", 1), ("====", 0),
    ("QU-J", 2), ("%%%", 0), ("é", 0),
])  # fmt: skip
def test_base64_stumbles_where_gos_decoder_does(text: str, offset: int | None) -> None:
    assert decode.base64_fault(text) == offset


def test_a_license_is_one_text_or_a_list_of_them() -> None:
    assert decode.decode(CreateRequest, b'{"license":"MIT"}').license == ("MIT",)
    assert decode.decode(CreateRequest, b'{"license":["a","","b"]}').license == ("a", "b")
    assert decode.decode(CreateRequest, b'{"license":null}').license == ()
    with pytest.raises(Problem, match="cannot unmarshal"):
        decode.decode(CreateRequest, b'{"license":[1]}')


def test_what_the_go_client_sends_for_absent_fields_counts_as_absent() -> None:
    body = decode.decode(ShowRequest, b'{"model":"m","name":"","system":"","template":"","options":null}')
    assert body == ShowRequest(model="m")


# --- properties ---------------------------------------------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
_FIELDS = sorted({name for kind in KINDS for name in decode.schema(kind)[0]})


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(KINDS), body=st.binary(max_size=60) | st.text('{}[]",:\\ -0.eu1ntfr\x01é', max_size=40))
def test_whatever_the_bytes_a_body_or_a_problem_comes_out(kind: type, body: bytes | str) -> None:
    try:
        decode.decode(kind, body.encode() if isinstance(body, str) else body)
    except Problem as problem:
        assert problem.status == 400
        assert problem.message not in ("", "invalid JSON")


@settings(max_examples=250, deadline=None)
@given(kind=st.sampled_from(KINDS), fields=st.dictionaries(st.sampled_from(_FIELDS), _JSON, max_size=6))
def test_whatever_the_values_a_body_or_a_problem_comes_out(kind: type, fields: dict[str, Any]) -> None:
    text = json.dumps(fields).encode()
    try:
        body = decode.decode(kind, text)
    except Problem as problem:
        assert problem.status == 400
        problem.message.encode()
    else:
        assert isinstance(body, kind)


@settings(max_examples=200, deadline=None)
@given(value=_JSON, cut=st.integers(min_value=0, max_value=200))
def test_the_two_parsers_agree_on_what_is_json(value: Any, cut: int) -> None:
    text = json.dumps(value, allow_nan=True)[: cut or None]
    ours = syntax.fault(text)
    try:
        json.JSONDecoder(parse_constant=decode._refuse_constant).raw_decode(text)
        pythons = False
    except ValueError:
        pythons = True
    if not text.strip("-0123456789.eE"):
        return  # Python reads the `1` of a bare `1.` and stops; Go calls that cut short
    assert bool(ours) == pythons


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=20), spoil=st.integers(0, 30), char=st.sampled_from("=-\n%A"))
def test_base64_that_passes_is_decoded_and_the_rest_is_refused(data: bytes, spoil: int, char: str) -> None:
    good = base64.b64encode(data).decode()
    assert decode.base64_fault(good) is None
    bad = good[:spoil] + char + good[spoil:]
    if decode.base64_fault(bad) is None:
        assert decode._read_image(bad, ("X",)) is not None
