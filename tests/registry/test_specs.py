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
        ({"model": "x", "files": {"pytorch_model.bin": SHA}}, 400, specs.PICKLED),
        ({"model": "x", "from": "m", "adapters": {"a": SHA, "b": SHA}}, 400,
         "only one adapter is currently supported"),
        ({"model": "x", "from": "m", "adapters": {"a": "zz"}}, 400, "invalid digest format"),
        ({"model": "x", "modelfile": "FROM m\nADAPTER ./a.gguf"}, 400,
         "ADAPTER ./a.gguf: upload the file first (POST /api/blobs/sha256:…), then ADAPTER its digest"),
        ({"model": "x", "modelfile": "FROM m\nREQUIRES one"}, 400, "requires must be a valid semver (e.g. 0.14.0)"),
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


def test_a_modelfile_says_what_the_fields_say() -> None:
    text = f"FROM m\nTEMPLATE {{{{ .Prompt }}}}!\nADAPTER @{SHA}\nLICENSE a\nLICENSE b\nREQUIRES 0.14.0\n"
    fields = {"from": "m", "template": "{{ .Prompt }}!", "adapters": {"adapter.gguf": SHA}, "license": ["a", "b"]}
    by_text = specs.from_body({"name": "x", "modelfile": text, "quantize": "q4_k"})
    assert by_text == specs.from_body({"model": "x", **fields, "requires": "0.14.0", "quantization": "q4_k"})
    assert by_text.adapters == {"adapter.gguf": SHA}


def test_a_license_may_be_one_text_or_several() -> None:
    assert specs.from_body({"model": "x", "from": "m", "license": "MIT"}).licenses == ("MIT",)
    assert specs.from_body({"model": "x", "from": "m", "license": ["MIT", "", "BSD"]}).licenses == ("MIT", "BSD")


def test_a_spec_survives_the_way_to_the_worker() -> None:
    spec = specs.from_body(
        {"model": "x", "files": {"a.gguf": SHA}, "system": "\0 ok", "messages": [{"role": "user", "content": "hi"}],
         "parameters": {"stop": ["a"]}, "license": "MIT", "info": {"capabilities": ["tools"]}}
    )  # fmt: skip
    assert CreateSpec.from_data(json.loads(json.dumps(spec.as_data()))) == spec
