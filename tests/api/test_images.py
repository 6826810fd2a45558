"""Images of a request: what is let through, what is made readable, what is refused, and that nothing else happens."""

import base64
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from apps.api import images
from apps.errors import Problem

RED, BLUE = (255, 0, 0), (0, 0, 255)


def drawn(kind: str, *, mode: str = "RGB", size: tuple[int, int] = (8, 8), **how: Any) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, how.pop("color", RED if mode == "RGB" else 0)).save(file, kind, **how)
    return file.getvalue()


def animated(kind: str) -> bytes:
    """Red, then blue."""
    file = io.BytesIO()
    first, second = (Image.new("RGB", (8, 8), color) for color in (RED, BLUE))
    first.save(file, kind, save_all=True, append_images=[second], duration=100, lossless=True)
    return file.getvalue()


def seen(text: str) -> Image.Image:
    """What the model gets to see."""
    return Image.open(io.BytesIO(base64.b64decode(text, validate=True)))


@pytest.mark.parametrize(
    "data",
    [drawn("PNG"), drawn("PNG", mode="RGBA"), drawn("PNG", mode="L"), drawn("PNG", mode="P"), drawn("JPEG")],
    ids=["png", "png-alpha", "png-gray", "png-palette", "jpeg"],
)
def test_what_llama_cpp_reads_goes_through_as_it_was_sent(data: bytes) -> None:
    assert base64.b64decode(images.check(data)) == data


@pytest.mark.parametrize("kind", ["WEBP", "GIF"])
def test_webp_and_gif_become_a_png_of_the_same_picture(kind: str) -> None:
    image = seen(images.check(drawn(kind, lossless=True)))
    assert (image.format, image.size, image.convert("RGB").getpixel((3, 3))) == ("PNG", (8, 8), RED)


@pytest.mark.parametrize("kind", ["WEBP", "GIF"])
def test_an_animation_is_its_first_frame(kind: str) -> None:
    image = seen(images.check(animated(kind)))
    assert (image.format, getattr(image, "n_frames", 1)) == ("PNG", 1)
    assert image.convert("RGB").getpixel((3, 3)) == RED


def test_a_jpeg_for_the_printing_press_becomes_a_png() -> None:
    image = seen(images.check(drawn("JPEG", mode="CMYK")))
    assert (image.format, image.mode) == ("PNG", "RGB")


def test_a_see_through_webp_stays_see_through() -> None:
    image = seen(images.check(drawn("WEBP", mode="RGBA", color=(255, 0, 0, 0), lossless=True)))
    assert image.mode == "RGBA"
    assert image.getchannel("A").getextrema() == (0, 0)


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", drawn("BMP"), drawn("TIFF"), drawn("PNG")[:60], drawn("JPEG")[:300], drawn("WEBP")[:20], b"GIF89a"],
    ids=["nothing", "text", "bmp", "tiff", "half-a-png", "half-a-jpeg", "half-a-webp", "a-gif-of-six-bytes"],
)
def test_anything_else_is_refused_in_a_plain_sentence(data: bytes) -> None:
    with pytest.raises(Problem, match="an image could not be read: send a whole PNG, JPEG, WebP or GIF") as raised:
        images.check(data)
    assert raised.value.status == 400


def test_too_many_bytes_are_refused_before_they_are_looked_at() -> None:
    with pytest.raises(Problem, match="20 MiB at most"):
        images.check(b"\0" * (images.MAX_BYTES + 1))


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    """6,000 x 6,000 pixels of one colour: some kilobytes that become 108 MB."""
    bomb = drawn("PNG", mode="1", size=(6000, 6000))
    assert len(bomb) < 20_000
    with pytest.raises(Problem, match=f"{2**25} pixels at most") as raised:
        images.check(bomb)
    assert raised.value.status == 400


@pytest.mark.parametrize("side", [10_000, 40_000])
def test_what_pillow_itself_calls_a_bomb_is_refused_alike(side: int) -> None:
    with pytest.raises(Problem, match="pixels at most"):
        images.check(drawn_lying(side))


def drawn_lying(side: int) -> bytes:
    """A GIF of 8 x 8 pixels that says it is `side` pixels wide and high."""
    data = bytearray(drawn("GIF"))
    data[6:10] = side.to_bytes(2, "little") * 2
    return bytes(data)


def test_a_request_may_have_a_hundred_images_and_no_more() -> None:
    images.check_count(images.MAX_IMAGES)
    with pytest.raises(Problem, match="100 images at most"):
        images.check_count(images.MAX_IMAGES + 1)


def test_many_large_images_are_too_much_together() -> None:
    large = drawn("PNG", mode="1", size=(5000, 5000))
    images.check_all([large] * 5)
    with pytest.raises(Problem, match=f"{2**27} pixels together at most"):
        images.check_all([large] * 6)
    with pytest.raises(Problem, match="an image could not be read"):
        images.check_all([large, b"hello"])


@settings(max_examples=300, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "WEBP", "GIF"]),
    changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=6),
    end=st.integers(10, 400),
)
def test_a_broken_image_is_an_image_or_a_sentence_and_never_a_crash(
    kind: str, changes: list[tuple[int, int]], end: int
) -> None:
    data = bytearray(drawn(kind))
    for place, byte in changes:
        data[place % len(data)] = byte
    try:
        assert seen(images.check(bytes(data[:end]))).size
    except Problem as problem:
        assert problem.status == 400
