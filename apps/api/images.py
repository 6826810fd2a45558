"""Images of a request, before native code sees them: decoded once with Pillow, bounded, in a format llama.cpp reads."""

import base64
import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from PIL import Image

from apps.errors import Problem

MAX_BYTES: Final = 20 * 1024 * 1024  # of one image as it was sent
MAX_PIXELS: Final = 2**25  # of one image or of an animation's first frame: 128 MiB as RGBA while it is checked
MAX_IMAGES: Final = 100  # in one request
MAX_ALL_PIXELS: Final = 2**27  # of all of them, so that a request costs seconds at most
FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF")

# What llama.cpp's own reader (stb_image) takes as it is; GIF too, but its reader is the least tried of them.
_READABLE: Final = {
    "PNG": {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16"},
    "JPEG": {"L", "RGB"},
    "MPO": {"L", "RGB"},  # a JPEG with further pictures behind it, as telephones write
}
_BROKEN: Final = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, KeyError, struct.error, zlib.error)
_BOMB: Final = (Image.DecompressionBombError, Image.DecompressionBombWarning)


def check(data: bytes) -> str:
    """The image as base64 text: as it was sent, or its first frame as PNG where llama.cpp could not read it.

    Errors: invalid for what is no whole image of FORMATS, or has more than MAX_BYTES or MAX_PIXELS.
    """
    if len(data) > MAX_BYTES:
        raise Problem("invalid", f"an image may have {MAX_BYTES // 2**20} MiB at most")
    with _in_words():
        return base64.b64encode(_readable(data)).decode("ascii")


def check_all(sent: Sequence[bytes]) -> None:
    """What all images of a request may be together, from their heads. Each has still to be checked by itself."""
    check_count(len(sent))
    if sum(map(_pixels, sent)) > MAX_ALL_PIXELS:
        raise Problem("invalid", f"the images of a request may have {MAX_ALL_PIXELS} pixels together at most")


def check_count(count: int) -> None:
    """Asked before any of a request's images is decoded."""
    if count > MAX_IMAGES:
        raise Problem("invalid", f"a request may have {MAX_IMAGES} images at most")


def _pixels(data: bytes) -> int:
    with _in_words(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return image.width * image.height


def _readable(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise _too_many_pixels()
        _verify(data)
        image.load()  # the first frame of an animation, and nothing behind it
        if image.mode in _READABLE.get(image.format or "", ()):
            return data
        png = io.BytesIO()
        plain = "RGBA" if image.has_transparency_data else "RGB"
        image.convert(plain).save(png, "PNG", compress_level=1)
        return png.getvalue()


def _verify(data: bytes) -> None:
    """A PNG to its last chunk, as llama.cpp wants it: its pixels alone may be whole in a file that is cut short."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        image.verify()


@contextmanager
def _in_words() -> Iterator[None]:
    """Whatever Pillow raises over a file, as a sentence."""
    try:
        yield
    except _BOMB as error:
        raise _too_many_pixels() from error
    except _BROKEN as error:
        raise Problem("invalid", "an image could not be read: send a whole PNG, JPEG, WebP or GIF") from error


def _too_many_pixels() -> Problem:
    return Problem("invalid", f"an image may have {MAX_PIXELS} pixels at most")
