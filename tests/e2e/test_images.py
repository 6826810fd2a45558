"""Images over HTTP: a tiny model and its projector are uploaded, made into a model, and shown pictures.

Their weights are random: what is said means nothing, that it depends on the pictures and their order does.
"""

import base64
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.inference.engine import tiny, tiny_llava
from tests.inference.engine.tiny_llava import CELL, ROWS, picture
from tests.server import Server, running

TEMPLATE = "{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}"
CAT, DOG = picture(1), picture(2, form="JPEG", size=(64, 20))


@pytest.fixture(scope="module")
def corral() -> Iterator[Server]:
    with running(starter="none") as server:
        yield server


@pytest.fixture(scope="module")
def sighted(corral: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a model that takes images; `blind` is the same one without its projector."""
    folder = tmp_path_factory.mktemp("sighted")
    files = {
        "model.gguf": upload(corral, tiny.write_model(folder / "model.gguf")),
        "mmproj.gguf": upload(corral, tiny_llava.write_projector(folder / "mmproj.gguf")),
    }
    create(corral, "sighted", files)
    create(corral, "blind", {"model.gguf": files["model.gguf"]})
    return "sighted"


def upload(server: Server, path: Path) -> str:
    data = path.read_bytes()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert server.call("POST", f"/api/blobs/{digest}", content=data).status_code == 201
    return digest


def create(server: Server, name: str, files: dict[str, str]) -> None:
    body = {"model": name, "files": files, "template": TEMPLATE, "stream": False}
    assert server.call("POST", "/api/create", json=body).json() == {"status": "success"}


def shown(*images: bytes) -> list[str]:
    return [base64.b64encode(image).decode() for image in images]


def chat(server: Server, *images: bytes, model: str = "sighted", content: str = "see", **more: Any) -> httpx.Response:
    said = {"role": "user", "content": content, "images": shown(*images)}
    options = {"temperature": 0, "num_predict": 12, **more.pop("options", {})}
    body = {"model": model, "messages": [said], "stream": False, "options": options, **more}
    return server.call("POST", "/api/chat", json=body)


def answer(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    text: str = response.json()["message"]["content"]
    assert text
    return text


def refused(response: httpx.Response) -> str:
    assert response.status_code == 400, response.text
    sentence: str = response.json()["error"]
    return sentence


def test_the_model_says_that_it_sees(corral: Server, sighted: str) -> None:
    shows = corral.call("POST", "/api/show", json={"model": sighted}).json()
    assert shows["capabilities"] == ["completion", "vision"]
    assert shows["projector_info"]["clip.projector_type"] == "mlp"
    assert corral.call("POST", "/api/show", json={"model": "blind"}).json()["capabilities"] == ["completion"]


def test_what_is_said_depends_on_the_images_and_their_order(corral: Server, sighted: str) -> None:
    ahead, other, again = (answer(chat(corral, *pair)) for pair in ((CAT, DOG), (DOG, CAT), (CAT, DOG)))
    assert ahead == again
    assert ahead != other


def test_a_model_that_numbers_places_in_several_dimensions_sees_too(corral: Server, tmp_path: Path) -> None:
    files = {
        "model.gguf": upload(corral, tiny.write_model(tmp_path / "model.gguf", kind="qwen2vl")),
        "mmproj.gguf": upload(corral, tiny_llava.write_with_grid(tmp_path / "mmproj.gguf")),
    }
    create(corral, "grid", files)
    wide, tall = picture(1, size=(6 * CELL, 2 * CELL)), picture(2, size=(2 * CELL, 5 * CELL))
    pairs = ((wide, tall), (tall, wide), (wide, tall))
    ahead, other, again = (chat(corral, *pair, model="grid", logprobs=True) for pair in pairs)
    assert answer(ahead) == answer(again)
    first, second, third = (reply.json()["logprobs"][0]["logprob"] for reply in (ahead, other, again))
    assert abs(first - third) < 0.01 < abs(first - second)
    only = chat(corral, wide, model="grid").json()["prompt_eval_count"]
    around = len("<|vision_start|><|vision_end|>")
    assert ahead.json()["prompt_eval_count"] - only >= 10 + around  # the tall one's squares of two by five


def test_images_count_as_tokens_of_the_prompt(corral: Server, sighted: str) -> None:
    one, two = (chat(corral, *images).json()["prompt_eval_count"] for images in ((CAT,), (CAT, DOG)))
    assert two - one == ROWS


def test_an_image_stands_where_the_text_says(corral: Server, sighted: str) -> None:
    before, behind = (answer(chat(corral, CAT, content=text)) for text in ("[img] what?", "what? [img]"))
    assert before != behind


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
def test_all_four_formats_are_seen(corral: Server, sighted: str, form: str) -> None:
    assert chat(corral, picture(7, form=form)).json()["prompt_eval_count"] > ROWS


def test_a_stream_of_generate_takes_images_and_its_context_comes_back_without_them(
    corral: Server, sighted: str
) -> None:
    body = {"model": sighted, "prompt": "see", "images": shown(CAT), "options": {"num_predict": 5, "temperature": 0}}
    last = list(corral.lines("/api/generate", body))[-1]
    assert last["prompt_eval_count"] > ROWS
    assert all(token >= 0 for token in last["context"])
    again = {**body, "images": [], "prompt": "and?", "context": last["context"], "stream": False}
    assert corral.call("POST", "/api/generate", json=again).status_code == 200


def test_the_prompt_alone_shows_where_images_stand(corral: Server, sighted: str) -> None:
    info = chat(corral, CAT, DOG, _debug_render_only=True).json()["_debug_info"]
    assert (info["image_count"], info["rendered_template"]) == (2, "user: [img-0][img-1]see\n")


def test_a_text_only_model_refuses_images_with_a_sentence(corral: Server, sighted: str) -> None:
    assert "does not support images" in refused(chat(corral, CAT, model="blind"))
    body = {"model": "blind", "prompt": "see", "images": shown(CAT), "stream": False}
    assert "does not support images" in refused(corral.call("POST", "/api/generate", json=body))
    assert answer(chat(corral, model="blind"))


def test_a_broken_image_is_refused_before_native_code_sees_it(corral: Server, sighted: str) -> None:
    assert "could not be read" in refused(chat(corral, CAT[: len(CAT) // 2]))
    assert "could not be read" in refused(chat(corral, b"no image"))
    assert answer(chat(corral, CAT))


def test_an_image_of_too_many_pixels_is_refused(corral: Server, sighted: str) -> None:
    wide = io.BytesIO()
    Image.new("L", (40_000, 1000)).save(wide, "PNG")
    assert "pixels at most" in refused(chat(corral, wide.getvalue()))


def test_images_that_do_not_fit_the_context_are_refused(corral: Server, sighted: str) -> None:
    sentence = refused(chat(corral, *[picture(seed) for seed in range(20)]))
    assert sentence.startswith("the prompt with its images is longer than the context length")


def test_openai_s_clients_show_images_too(corral: Server, sighted: str) -> None:
    url = {"url": "data:image/png;base64," + shown(CAT)[0]}
    content = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": url}]
    body = {"model": sighted, "messages": [{"role": "user", "content": content}], "max_tokens": 5}
    reply = corral.call("POST", "/v1/chat/completions", json=body)
    assert reply.status_code == 200, reply.text
    assert reply.json()["usage"]["prompt_tokens"] > ROWS
