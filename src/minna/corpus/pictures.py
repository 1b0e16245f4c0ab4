"""Opening a picture that somebody else made: one way in, for corpora, towers and searches.

What the web calls a picture is also a bomb (a PNG of 40 kB that unpacks to 40 GB), a file cut in
the middle, inks for a press, a film, a sticker on nothing, or a photograph lying on its side. Here
each becomes the same thing, RGB as a person would see it, or an error with a word for the count:

- the size is read from the header and judged before a pixel is unpacked;
- the first frame of an animation is the picture;
- EXIF's turn is carried out (where it can be read: a broken note about a picture is no broken one);
- what is transparent stands on white, the paper of most drawings;
- 16 bits a channel become 8 by dividing: Pillow alone cuts them off at 255, and all is white.

Only PNG, JPEG, WebP, GIF and BMP are opened: decoders nobody asked for are doors nobody watches.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from minna.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
STORED: Final = frozenset({"PNG", "JPEG", "MPO", "WEBP"})
"""Formats whose bytes a corpus keeps as they are (MPO is a JPEG with further ones behind it)."""
SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
MOST_PIXELS: Final = 50_000_000
"""Of one picture: 150 MB unpacked. The largest cameras of telephones stay below."""
MOST_BYTES: Final = 64_000_000
"""Of one file."""

_LEAST_SIDE = 2  # a picture of one pixel counts visitors
_DAMAGE = (
    OSError,
    SyntaxError,  # Pillow's word for a broken PNG
    ValueError,
    EOFError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)
_HASH_WIDTH, _HASH_HEIGHT = 9, 8
_WIDE_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_WIDE = 65535


class BadPictureError(DataError):
    """One picture cannot be used; `problem` is the reason it is counted under."""

    def __init__(self, rule: str, *, problem: str, remedy: str = "") -> None:
        super().__init__(rule, remedy=remedy or "give another picture, or save it again as PNG")
        self.problem = problem


def open_picture(content: bytes) -> Image.Image:
    """Return the picture in a file's bytes: RGB, upright, on white, its first frame.

    Raises:
        BadPictureError: `not_a_picture` (or of another format), `damaged` (cut or broken),
            `too_large` (over `MOST_PIXELS` or `MOST_BYTES`), `too_small` (a side of one pixel).
    """
    image = _opened(content)
    try:
        image.seek(0)
        image.load()
        return _on_white(_upright(image))
    except _DAMAGE as error:
        raise BadPictureError(
            f"the picture is damaged: {error or type(error).__name__}", problem="damaged"
        ) from error


def storable(content: bytes) -> bytes:
    """Return the bytes a corpus keeps: the file's own, or a PNG of what few readers open.

    Raises:
        BadPictureError: as `open_picture`, for a GIF or a BMP.
    """
    if _opened(content).format in STORED:
        return content
    return as_png(open_picture(content))


def as_png(image: Image.Image) -> bytes:
    """Return a picture as the bytes of a PNG file."""
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def difference_hash(image: Image.Image) -> int:
    """Return 64 bits that say where a picture grows darker from left to right.

    The picture is shrunk to 9 x 8 greys; a bit is set where one is brighter than its right
    neighbour, row by row from the highest bit. Copies that were scaled, saved again or brightened
    differ in none or in a few bits.
    """
    from PIL.Image import Resampling

    small = image.convert("L").resize((_HASH_WIDTH, _HASH_HEIGHT), Resampling.BOX)
    grey = np.asarray(small, dtype=np.uint8)
    bits = np.packbits(grey[:, :-1] > grey[:, 1:])
    return int.from_bytes(bits.tobytes(), "big")


def _opened(content: bytes) -> Image.Image:
    """The picture before a pixel is unpacked, its size judged."""
    from PIL import Image, UnidentifiedImageError

    if len(content) > MOST_BYTES:
        raise _too_large(f"{len(content)} bytes, and {MOST_BYTES} are allowed")
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise _too_large(f"far over the {MOST_PIXELS} pixels allowed") from error
    except UnidentifiedImageError as error:
        raise BadPictureError(
            f"the file of {len(content)} bytes is no picture ({', '.join(FORMATS)} are read)",
            problem="not_a_picture",
        ) from error
    except _DAMAGE as error:
        raise BadPictureError(
            f"the picture's header is damaged: {error or type(error).__name__}", problem="damaged"
        ) from error
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise _too_large(f"{width} x {height} pixels, and {MOST_PIXELS} are allowed")
    if min(width, height) < _LEAST_SIDE:
        raise BadPictureError(
            f"the picture has {width} x {height} pixels, and a side of one shows nothing",
            problem="too_small",
        )
    return image


def _too_large(what: str) -> BadPictureError:
    return BadPictureError(
        f"the picture is too large: {what}", problem="too_large", remedy="shrink it first"
    )


def _upright(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except _DAMAGE:
        return image  # its EXIF is broken, and nobody knows which way it lies


def _on_white(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode in _WIDE_MODES:
        return _narrow(image).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    paper = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(paper, layer).convert("RGB")


def _narrow(image: Image.Image) -> Image.Image:
    """Greys of 16 bits in 8."""
    from PIL import Image

    grey: Any = np.asarray(image).astype(np.float32)
    return Image.fromarray(np.clip(grey * (255 / _WIDE) + 0.5, 0, 255).astype(np.uint8))
