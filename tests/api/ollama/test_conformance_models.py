"""The contract's checks of models and blobs on a running server."""

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import gguf
import httpx
import numpy
import pytest

from apps.registry import modelfile
from tests.api.ollama.checks import check
from tests.api.ollama.conftest import MODEL
from tests.api.ollama.recordings import body_of, shape
from tests.api.ollama.speaking import answer, chat, lines, loaded
from tests.registry.checkpoints import decoder
from tests.server import Server

ZEROS = "sha256:" + "0" * 64


def create(client: httpx.Client, name: str, **fields: Any) -> list[str]:
    return [line["status"] for line in lines(client, "/api/create", {"model": name, "from": MODEL, **fields})]


def show(client: httpx.Client, name: str, **fields: Any) -> dict[str, Any]:
    reply = client.post("/api/show", json={"model": name, **fields})
    assert reply.status_code == 200, reply.text
    described: dict[str, Any] = reply.json()
    return described


def tags(client: httpx.Client) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in client.get("/api/tags").json()["models"]}


@pytest.fixture
def tiny(tmp_path: Path) -> bytes:
    """A GGUF with a head and one tensor: enough to be stored and shown."""
    file = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(file, "qwen2")
    writer.add_context_length(64)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_token_list(["a", "b"])
    writer.add_tensor("token_embd.weight", numpy.zeros((2, 8), dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file.read_bytes()


@check(67)
def test_a_model_is_made_from_another(live: httpx.Client) -> None:
    said = create(live, "mario", system="You are Mario")
    assert said[-2:] == ["writing manifest", "success"]
    assert show(live, "mario")["system"] == "You are Mario"


@check(68)
def test_the_guides_older_body_does_the_same(live: httpx.Client) -> None:
    said = lines(live, "/api/create", {"name": "mario-old", "modelfile": f"FROM {MODEL}\nSYSTEM You are Mario"})
    assert said[-1] == {"status": "success"}
    assert show(live, "mario-old")["system"] == "You are Mario"


@check(69)
def test_without_a_stream_only_the_end_is_said(live: httpx.Client) -> None:
    reply = live.post("/api/create", json={"model": "luigi", "from": MODEL, "stream": False})
    assert (reply.text, reply.headers["Content-Type"]) == ('{"status":"success"}', "application/json")


@check(70, 71, 72, 73, 74, 77)
@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({"model": "x"}, 400, "neither 'from' or 'files' was specified"),
        ({"model": "x y", "from": MODEL}, 400, "invalid model name"),
        ({"model": "x", "files": {"../a": ZEROS}}, 400, "file path must be relative"),
        ({"model": "x", "files": {"/a": ZEROS}}, 400, "file path must be relative"),
        ({"model": "x", "files": {"a.gguf": ""}}, 400, "invalid digest format"),
        ({"model": "x", "from": MODEL, "template": "{{ .Prompt"}, 400, "template error:"),
        ({"model": "x", "from": MODEL, "quantize": "q5_0"}, 500, "unsupported quantization type Q5_0 - supported"),
        ({"model": "x", "modelfile": f"FROM {MODEL}\nBAD x"}, 400, '(line 2): command must be one of "from", '),
        ({"model": "x", "modelfile": "SYSTEM x"}, 400, "no FROM line"),
        ({"model": "x", "modelfile": f"FROM {MODEL}\nMESSAGE tool x"}, 400, "(line 2): message role must be "),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_create_that_cannot_be_is_refused(
    live: httpx.Client, body: dict[str, Any], status: int, error: str, stream: bool
) -> None:
    reply = live.post("/api/create", json={**body, "stream": stream})
    assert reply.status_code == status
    assert reply.json()["error"].startswith(error)


def test_a_create_that_fails_in_its_job_says_so(live: httpx.Client) -> None:
    reply = live.post("/api/create", json={"model": "x", "from": MODEL, "quantize": "q8_0"})
    golden = body_of("create-quantize-quantized")
    assert (reply.status_code, reply.json()) == (500, golden)
    *_, last = lines(live, "/api/create", {"model": "x", "from": "nope-nope"})
    assert last == {"error": "pull model manifest: file does not exist"}
    assert "x:latest" not in tags(live)


@check(73)
@pytest.mark.parametrize(
    ("template", "error"),
    [
        ("{{ .Prompt", body_of("create-bad-template")["error"]),
        ("{{ foo }}", 'template error: template: :1: function "foo" not defined'),
        ("{{ if .Prompt }}", "template error: template: :1: unexpected EOF"),
        ("{{ end }}", "template error: template: :1: unexpected {{end}}"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_bad_template_is_refused_in_gos_words(live: httpx.Client, template: str, error: str, stream: bool) -> None:
    bodies = [{"model": "x", "from": MODEL, "template": template}]
    bodies += [{"model": "x", "modelfile": f"FROM {MODEL}\nTEMPLATE {template}"}]
    for body in bodies:
        reply = live.post("/api/create", json={**body, "stream": stream})
        assert (reply.status_code, reply.json()) == (400, {"error": error})


def test_a_template_is_stored_and_shown(live: httpx.Client) -> None:
    template = "{{ .System }} USER: {{ .Prompt }} {{ .Suffix }}"
    create(live, "templated", template=template)
    shown = show(live, "templated")
    assert shown["template"] == template
    assert f"TEMPLATE {template}" in shown["modelfile"]
    assert shown["capabilities"] == ["completion", "insert"]


@check(75)
@pytest.mark.parametrize(("given", "shown"), [("MIT", "MIT"), (["a", "b"], "a\nb")])
def test_licenses_are_one_text_or_many(live: httpx.Client, given: Any, shown: str) -> None:
    create(live, "licensed", license=given)
    assert show(live, "licensed")["license"] == shown


@check(76)
def test_parameters_are_shown_line_by_line(live: httpx.Client) -> None:
    create(live, "tuned", parameters={"stop": ["a", "b"], "temperature": 0.5})
    shown = show(live, "tuned")["parameters"].splitlines()
    assert sorted(line.split()[0] for line in shown) == ["stop", "stop", "temperature"]
    assert sorted(shown) == sorted(body_of("show-created")["parameters"].splitlines())


@check(78, 79)
def test_blobs_are_taken_in_by_digest(live: httpx.Client) -> None:
    content = b"hello conformance"
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert live.head(f"/api/blobs/{digest}").status_code == 404
    assert live.head("/api/blobs/sha256:abc").status_code == 400
    for status in (201, 200):
        reply = live.post(f"/api/blobs/{digest}", content=content)
        assert (reply.status_code, reply.content) == (status, b"")
    assert live.head(f"/api/blobs/{digest}").status_code == 200
    wrong = live.post(f"/api/blobs/{ZEROS}", content=content)
    assert (wrong.status_code, wrong.json()["error"]) == (
        400, f'digest mismatch, expected "{ZEROS}", got "{digest}"',
    )  # fmt: skip
    assert live.post("/api/blobs/nonsense", content=b"x").json() == {"error": "invalid digest format"}


@check(78, 79)
def test_a_digest_is_no_key_to_anothers_blob(live: httpx.Client, server: Server) -> None:
    content = b"the admin's own"
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert live.post(f"/api/blobs/{digest}", content=content).status_code == 201
    assert server.call("HEAD", f"/api/blobs/{digest}", key=server.key).status_code == 404
    assert server.call("POST", f"/api/blobs/{digest}", key=server.key, content=content).status_code == 201
    assert server.call("HEAD", f"/api/blobs/{digest}", key=server.key).status_code == 200


@check(79)
def test_a_blob_may_come_in_chunks(live: httpx.Client) -> None:
    pieces = [b"a" * 70_000, b"b" * 70_000]
    digest = f"sha256:{hashlib.sha256(b''.join(pieces)).hexdigest()}"
    assert live.post(f"/api/blobs/{digest}", content=iter(pieces)).status_code == 201


@check(80)
def test_an_uploaded_gguf_becomes_a_model(live: httpx.Client, tiny: bytes) -> None:
    digest = f"sha256:{hashlib.sha256(tiny).hexdigest()}"
    assert live.post(f"/api/blobs/{digest}", content=tiny).status_code in (200, 201)
    said = lines(live, "/api/create", {"model": "tiny", "files": {"tiny.gguf": digest}})
    assert (said[0], said[-1]) == ({"status": "parsing GGUF"}, {"status": "success"})
    assert tags(live)["tiny:latest"]["details"]["format"] == "gguf"


def uploaded(client: httpx.Client, content: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert client.post(f"/api/blobs/{digest}", content=content).status_code in (200, 201)
    return digest


@check(74)
def test_safetensors_are_converted_quantised_and_answer(live: httpx.Client, tmp_path: Path) -> None:
    """A tiny model of random weights: what it says is noise, but that it says it shows that every part fits."""
    files = decoder("Qwen2ForCausalLM", dtype="F16").save(tmp_path)
    digests = {name: uploaded(live, path.read_bytes()) for name, path in files.items()}
    said = [line["status"] for line in lines(live, "/api/create", {"model": "own", "files": digests})]
    assert (said[0], said[-1]) == ("converting model", "success")
    assert show(live, "own")["details"]["quantization_level"] == "F16"
    for alias in ("quantize", "quantization"):
        steps = lines(live, "/api/create", {"model": "own-q8", "from": "own", alias: "q8_0"})
        first = next(line for line in steps if "total" in line)
        assert (first["status"], first["digest"]) == ("quantizing F16 model to Q8_0", "0" * 19)
        assert "verifying conversion" in [line["status"] for line in steps]
    assert show(live, "own-q8")["details"]["quantization_level"] == "Q8_0"
    for name in ("own", "own-q8"):
        body = {"model": name, "prompt": "hello", "raw": True, "options": {"num_predict": 4, "num_ctx": 64}}
        assert answer(live, "/api/generate", body)["eval_count"] >= 1


def test_an_architecture_that_cannot_be_converted_is_a_sentence(live: httpx.Client, tmp_path: Path) -> None:
    checkpoint = decoder("Qwen2ForCausalLM")
    checkpoint.config["architectures"] = ["MambaForCausalLM"]
    digests = {name: uploaded(live, path.read_bytes()) for name, path in checkpoint.save(tmp_path).items()}
    reply = live.post("/api/create", json={"model": "x", "files": digests, "stream": False})
    assert reply.status_code == 400
    assert reply.json()["error"].startswith("unsupported architecture MambaForCausalLM")


@check(81)
def test_a_copy_is_the_same_under_another_name(live: httpx.Client) -> None:
    reply = live.post("/api/copy", json={"source": MODEL, "destination": "m2"})
    assert (reply.status_code, reply.content) == (200, b"")
    assert tags(live)["m2:latest"]["digest"] == tags(live)[MODEL]["digest"]
    for body, status, error in [
        ({"source": "nope", "destination": "x"}, 404, 'model "nope" not found'),
        ({"source": MODEL, "destination": "a b"}, 400, 'destination "a b" is invalid'),
    ]:
        failed = live.post("/api/copy", json=body)
        assert (failed.status_code, failed.json()) == (status, {"error": error})


@check(82)
@pytest.mark.parametrize("key", ["name", "model"])
def test_delete_takes_a_name_away_and_keeps_what_is_shared(live: httpx.Client, key: str) -> None:
    live.post("/api/copy", json={"source": MODEL, "destination": "m3"})
    reply = live.request("DELETE", "/api/delete", json={key: "m3"})
    assert (reply.status_code, reply.content) == (200, b"")
    again = live.request("DELETE", "/api/delete", json={key: "m3"})
    assert (again.status_code, again.json()) == (404, {"error": "model 'm3' not found"})
    assert answer(live, "/api/chat", chat())["done"]


@check(83)
def test_tags_have_the_recorded_fields(live: httpx.Client) -> None:
    entry, golden = tags(live)[MODEL], body_of("tags")["models"][0]
    assert list(entry) == list(golden)
    assert shape(entry["details"]) == shape(golden["details"])
    assert {**entry["details"], "parent_model": ""} == golden["details"]
    assert entry["name"] == entry["model"]
    assert (len(entry["digest"]), int(entry["digest"], 16) > 0, type(entry["size"])) == (64, True, int)
    assert datetime.fromisoformat(entry["modified_at"]).tzinfo


@check(84)
def test_tags_come_newest_first(live: httpx.Client) -> None:
    create(live, "newest")
    times = [datetime.fromisoformat(entry["modified_at"]).replace(microsecond=0) for entry in tags(live).values()]
    assert times == sorted(times, reverse=True)


@check(83)
def test_each_sees_the_library_and_what_is_theirs(server: Server) -> None:
    made = server.call("POST", "/api/create", key=server.key, json={"model": "hers", "from": MODEL, "stream": False})
    assert made.json() == {"status": "success"}
    charlie = server.new_user("charlie-of-the-models")
    for key, seen in ((server.key, True), (charlie, False)):
        shown = {entry["name"] for entry in server.call("GET", "/api/tags", key=key).json()["models"]}
        assert MODEL in shown
        assert any("hers" in name for name in shown) is seen
    assert server.call("POST", "/api/show", key=charlie, json={"model": "alice/hers"}).json() == {
        "error": "model 'alice/hers:latest' not found"
    }


@check(85)
def test_ps_has_the_recorded_fields(live: httpx.Client) -> None:
    live.post("/api/generate", json={"model": MODEL})
    entry, golden = loaded(live)[0], body_of("ps")["models"][0]
    assert list(entry) == list(golden)
    assert entry["details"] == golden["details"]
    assert entry["size"] > 100_000_000
    assert entry["context_length"] >= 1024


@check(86)
def test_show_knows_both_names_of_the_field(live: httpx.Client) -> None:
    by_model = live.post("/api/show", json={"model": MODEL}).json()
    assert by_model == live.post("/api/show", json={"name": MODEL}).json()
    for body, status, error in [
        ({"model": "nope"}, 404, "model 'nope:latest' not found"),
        ({}, 400, "model is required"),
    ]:
        failed = live.post("/api/show", json=body)
        assert (failed.status_code, failed.json()) == (status, {"error": error})


@check(87)
def test_show_tells_what_the_file_says(live: httpx.Client) -> None:
    shown, golden = show(live, MODEL), body_of("show")
    assert [key for key in shown if key != "requires"] == list(golden)
    assert shown["model_info"] == golden["model_info"]
    assert all(tensor in shown["tensors"] for tensor in golden["tensors"][:4])
    assert "completion" in shown["capabilities"]
    assert len(show(live, MODEL, verbose=True)["model_info"]["tokenizer.ggml.tokens"]) > 100_000


@check(88)
def test_the_shown_modelfile_can_be_read_again(live: httpx.Client) -> None:
    create(live, "again", system='say "hi"\nand bye', messages=[{"role": "user", "content": "hello"}])
    text = show(live, "again")["modelfile"]
    assert any(command.name == "from" for command in modelfile.parse(text))
    assert "/blobs/" not in text
    assert lines(live, "/api/create", {"name": "again2", "modelfile": text})[-1] == {"status": "success"}
    assert show(live, "again2")["messages"] == [{"role": "user", "content": "hello"}]


@check(89)
def test_names_are_compared_without_case(live: httpx.Client) -> None:
    create(live, "Foo")
    assert show(live, "foo")["details"]["format"] == "gguf"
    assert json.dumps(list(tags(live))).lower().count('"foo:latest"') == 1
