import json
from typing import Any

import pytest

from apps.errors import Problem
from apps.registry import specs
from apps.registry.specs import CreateSpec

SHA = "sha256:" + "cd" * 32
UNSUPPORTED = "unsupported quantization type Q5_0 - supported types are F32, F16, Q4_K_S, Q4_K_M, Q8_0"


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({}, 400, "invalid model name"),
        ({"model": "x y", "from": "m"}, 400, "invalid model name"),
        ({"model": "x"}, 400, "neither 'from' or 'files' was specified"),
        ({"model": "x", "modelfile": ""}, 400, "neither 'from' or 'files' was specified"),
        ({"model": "x", "from": "a b"}, 400, "invalid model name"),
        ({"model": "x y", "files": {"../a": SHA}}, 400, "file path must be relative"),
        ({"model": "x", "files": {"/a": SHA}}, 400, "file path must be relative"),
        ({"model": "x", "files": {"a//b": SHA}}, 400, "file path must be relative"),
        ({"model": "x", "files": {"a": ""}}, 400, "invalid digest format"),
        ({"model": "x", "files": {}}, 400, "unknown type"),
        ({"model": "x", "files": {"m.safetensors": SHA}}, 400,
         "this server does not serve creating from safetensors yet"),
        ({"model": "x", "from": "m", "template": "{{ .Prompt"}, 400,
         "template error: this server does not serve TEMPLATE yet"),
        ({"model": "x", "from": "m", "adapters": {"a": SHA, "b": SHA}}, 400,
         "only one adapter is currently supported"),
        ({"model": "x", "from": "m", "adapters": {"a": "zz"}}, 400, "invalid digest format"),
        ({"model": "x", "from": "m", "adapters": {"a": SHA}}, 400, "this server does not serve ADAPTER yet"),
        ({"model": "x", "from": "m", "draft_quantize": "q4"}, 400, "--draft-quantize requires a DRAFT model"),
        ({"model": "x", "from": "m", "remote_host": "h"}, 400, "this server does not serve remote_host yet"),
        ({"model": "x", "from": "m", "quantize": "q5_0"}, 500, UNSUPPORTED),
        ({"model": "x", "from": "m", "quantization": "q5_0"}, 500, UNSUPPORTED),
        ({"model": "x", "modelfile": "FROM m", "quantize": "q5_0"}, 500, UNSUPPORTED),
        ({"model": "x", "from": "m", "info": {"model_family": 3}}, 400, 'info field "model_family" must be a string'),
        ({"model": "x", "from": "m", "info": {"context_length": "3"}}, 400,
         'info field "context_length" must be a number'),
        ({"model": "x", "from": "m", "info": {"context_length": 1.5}}, 400,
         'info field "context_length" must be a non-negative integer'),
    ],
)  # fmt: skip
def test_a_wrong_body_is_refused_in_the_contracts_words(body: dict[str, Any], status: int, error: str) -> None:
    with pytest.raises(Problem) as caught:
        specs.from_body(body)
    assert (caught.value.status, caught.value.message) == (status, error)


def test_the_template_that_show_prints_for_none_counts_as_none() -> None:
    assert specs.from_body({"model": "x", "from": "m", "template": "{{ .Prompt }}"}) == CreateSpec("x", "m")


def test_a_license_may_be_one_text_or_several() -> None:
    assert specs.from_body({"model": "x", "from": "m", "license": "MIT"}).licenses == ("MIT",)
    assert specs.from_body({"model": "x", "from": "m", "license": ["MIT", "", "BSD"]}).licenses == ("MIT", "BSD")


def test_a_spec_survives_the_way_to_the_worker() -> None:
    spec = specs.from_body(
        {"model": "x", "files": {"a.gguf": SHA}, "system": "\0 ok", "messages": [{"role": "user", "content": "hi"}],
         "parameters": {"stop": ["a"]}, "license": "MIT", "info": {"capabilities": ["tools"]}}
    )  # fmt: skip
    assert CreateSpec.from_data(json.loads(json.dumps(spec.as_data()))) == spec
