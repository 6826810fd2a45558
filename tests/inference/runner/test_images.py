"""Images through a real runner: by the pipe as they are, out of reach of everybody's rights but those it began with."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.inference import commands
from apps.inference.engine.vision import BLIND
from tests.inference.engine import tiny, tiny_llava
from tests.inference.engine.tiny_llava import ROWS, picture
from tests.inference.runner.conftest import Event, MakeRunner, Runner

NOBODY = 65534
CAT, DOG = picture(1), picture(2, form="JPEG")
_numbers = itertools.count(1)


def load(runner: Runner, folder: Path, **more: Any) -> Event:
    """The runner loses the right to read the folder before it reads the files."""
    folder.chmod(0o700)
    more = {"context": 128, "shared_user": NOBODY if os.geteuid() == 0 else None, **more}
    runner.load(folder / "model.gguf", projectors=[str(folder / "projector.gguf")], **more)
    return runner.wait("ready", seconds=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sighted")
    tiny.write_model(path / "model.gguf")
    tiny_llava.write_projector(path / "projector.gguf")
    return path


@pytest.fixture(scope="module")
def sighted(services: None, folder: Path) -> Iterator[Runner]:
    runner = Runner()
    load(runner, folder)
    yield runner
    runner.close()


def show(runner: Runner, tokens: list[int], *images: bytes) -> Event:
    """A run with a log of its own; how it ended."""
    run = f"image-{os.getpid()}-{next(_numbers)}"
    runner.log.create(run, owner=None, ttl=60)
    assert runner.log.claim(run, 1)
    names = {"run": run, "log": run, "fence": 1, "share_key": run, "want_context": True}
    told = {"sampling": {"temperature": 0}, "limits": {"num_predict": 12}, "tokens": tokens, "images": list(images)}
    assert runner.process.stdin
    runner.process.stdin.write(commands.packed({"do": "run", **names, **told}))
    runner.process.stdin.flush()
    return runner.wait("ended", run)


def test_images_are_answered_in_their_order(sighted: Runner) -> None:
    ahead, other, again = (show(sighted, [1, -1, 50, -2, 51], *shown) for shown in ((CAT, DOG), (DOG, CAT), (CAT, DOG)))
    assert (ahead["error"], ahead["prompt_tokens"], ahead["output_tokens"]) == (None, 3 + 2 * ROWS, 12)
    assert ahead["output_ids"] == again["output_ids"] != other["output_ids"]


def test_one_image_may_stand_twice(sighted: Runner) -> None:
    assert show(sighted, [1, -1, 50, -1, 51], CAT)["prompt_tokens"] == 3 + 2 * ROWS


def test_a_file_that_is_no_image_ends_its_run_and_no_other(sighted: Runner) -> None:
    problem = show(sighted, [1, -1, 50], b"no image at all\n{}\n")["error"]
    assert problem == {"code": "invalid", "message": "an image could not be read"}
    assert show(sighted, [1, 50, 60])["error"] is None
    assert show(sighted, [1, -1, 50], DOG)["error"] is None


def test_a_place_without_an_image_is_refused(sighted: Runner) -> None:
    assert "not sent" in show(sighted, [1, -1, -2], CAT)["error"]["message"]


def test_the_projector_counts_among_the_weights(make_runner: MakeRunner, folder: Path) -> None:
    blind = make_runner()
    blind.load(folder / "model.gguf", context=128)
    bare = blind.wait("ready", seconds=60)["memory"]["weights"]
    seeing = load(make_runner(), folder)["memory"]["weights"]
    assert seeing - bare == (folder / "projector.gguf").stat().st_size


def test_a_model_without_a_projector_refuses_images(make_runner: MakeRunner, folder: Path) -> None:
    runner = make_runner()
    runner.load(folder / "model.gguf", context=128)
    runner.wait("ready", seconds=60)
    assert show(runner, [1, -1, 50], CAT)["error"] == {"code": "invalid", "message": BLIND}


def test_a_projector_that_does_not_fit_fails_the_load(make_runner: MakeRunner, tmp_path: Path) -> None:
    tiny.write_model(tmp_path / "model.gguf")
    other = tiny_llava.write_projector(tmp_path / "projector.gguf", width=2 * tiny.WIDTH)
    runner = make_runner()
    runner.load(tmp_path / "model.gguf", context=128, projectors=[str(other)])
    failed = runner.wait("failed", seconds=60)
    assert failed["code"] == "invalid"
    assert "made for another model" in failed["message"]
