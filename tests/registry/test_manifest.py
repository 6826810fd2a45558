import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.errors import Problem
from apps.registry import manifest
from apps.registry.manifest import Document, Layer

SHA = "sha256:" + "ab" * 32
DOCUMENT = Document(Layer(manifest.CONFIG, SHA, 154), (Layer(manifest.WEIGHTS, SHA, 1000, source="base:latest"),))


def test_layers_are_written_byte_for_byte_as_ollama_writes_them() -> None:
    """The digests are those of a real Ollama's layers (wire recording create-from)."""
    params = manifest.compact({"stop": ["a", "b"], "temperature": 0.5})
    messages = manifest.compact([{"role": "user", "content": "hi"}])
    assert hashlib.sha256(params).hexdigest().startswith("7e91c8ceb6d93d47")
    assert hashlib.sha256(messages).hexdigest().startswith("c8a55c91ab61e4cb")


def test_the_config_has_the_size_of_a_real_ones() -> None:
    config = {"model_format": "gguf", "model_family": "qwen2", "model_families": ["qwen2"], "model_type": "630.17M",
              "file_type": "Q4_K_M", "renderer": "", "capabilities": []}  # fmt: skip
    assert len(manifest.dump_config(config)) == 154


def test_a_manifest_reads_back_as_itself() -> None:
    assert manifest.parse(DOCUMENT.dump()) == DOCUMENT
    assert DOCUMENT.size == 1154
    assert list(json.loads(DOCUMENT.dump())) == ["schemaVersion", "mediaType", "config", "layers"]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"null", b"{}", b'{"config":{}}', b'{"config":{"digest":"sha256:zz","size":1}}', b"[" * 100_000,
     json.dumps({"config": {"digest": SHA, "size": -1}}).encode(),
     json.dumps({"config": {"digest": SHA, "size": True}}).encode(),
     json.dumps({"config": {"digest": SHA, "size": 1}, "layers": "x"}).encode(),
     json.dumps({"config": {"digest": SHA, "size": 1}, "layers": [3]}).encode(),
     b" " * (manifest.MAX_BYTES + 1)],
)  # fmt: skip
def test_what_is_no_manifest_is_refused(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        manifest.parse(body)
    assert caught.value.code == "invalid"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["config", "layers", "digest", "size", "mediaType"]), inner)
        ),
    )
)
def test_any_json_is_a_manifest_or_a_problem(data: object) -> None:
    try:
        manifest.parse(json.dumps(data).encode())
    except Problem as problem:
        assert problem.code == "invalid"
